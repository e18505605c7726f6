package config

import (
	"fmt"
	"os"
	"path"
	"time"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// Baseline is the part of the init_config about what is learned.
type Baseline struct {
	Mode           string        `json:"mode,omitempty" jsonschema:"enum=learn,enum=detect,enum=both" jsonschema_description:"learn: learn and compare nothing. detect: compare with the file and learn nothing. both: learn a workload for the learning period and then compare and keep learning slowly."`
	File           string        `json:"file,omitempty" jsonschema_description:"File that the baseline is kept in across restarts; its directory must exist. Without one what is learned is lost at a restart."`
	AuditFile      string        `json:"audit_file,omitempty" jsonschema_description:"File that what is learned from audit events is kept in: Falco runs one instance of the plugin for each event source. Where it is not set, file with .k8s_audit added."`
	SaveInterval   string        `json:"save_interval,omitempty" jsonschema_description:"How often the file is saved. Only whole minutes are saved: a duration from 1m to 24h."`
	Node           string        `json:"node,omitempty" jsonschema_description:"Name of this node among those whose baselines are merged. The host's name where it is not set."`
	LearningPeriod string        `json:"learning_period,omitempty" jsonschema_description:"Event time that a workload is learned for before it is compared. A duration from 0s to 8760h."`
	MinWindows     uint64        `json:"min_windows,omitempty" jsonschema:"minimum=1" jsonschema_description:"Minutes that a workload is learned for at least before it is compared."`
	HourOfDay      bool          `json:"hour_of_day,omitempty" jsonschema_description:"Also learn each hour of the day (UTC); an hour falls back to the whole day until it has data."`
	Exclude        []string      `json:"exclude,omitempty" jsonschema_description:"Globs of workloads that are neither learned nor compared; * within a part of the name and ** across parts."`
	Maintenance    []Maintenance `json:"maintenance,omitempty" jsonschema_description:"When nothing of some workloads is learned and nobody should be woken."`
	MaxWorkloads   int           `json:"max_workloads,omitempty" jsonschema:"minimum=16,maximum=65536" jsonschema_description:"Workloads learned at a time."`
}

// Maintenance is one maintenance window: from and to, or start and duration.
type Maintenance struct {
	Workloads string `json:"workloads" jsonschema_description:"Glob of workloads."`
	From      string `json:"from,omitempty" jsonschema_description:"Beginning of a single window, RFC 3339."`
	To        string `json:"to,omitempty" jsonschema_description:"End of a single window, RFC 3339."`
	Start     string `json:"start,omitempty" jsonschema_description:"When a window begins again and again: five fields as in crontab."`
	Duration  string `json:"duration,omitempty" jsonschema_description:"How long each of those lasts. A duration from 1m to 168h."`
	TimeZone  string `json:"time_zone,omitempty" jsonschema_description:"Time zone of start, such as Europe/Berlin. UTC where it is not set."`
}

func defaultBaseline() Baseline {
	d := baseline.DefaultConfig()
	return Baseline{
		Mode:           "both",
		SaveInterval:   "5m",
		LearningPeriod: "168h",
		MinWindows:     d.MinWindows,
		MaxWorkloads:   d.MaxWorkloads,
	}
}

const (
	year = 365 * 24 * time.Hour
	week = 7 * 24 * time.Hour
)

// settings checks this part of the config and converts it.
func (b *Baseline) settings(v *check) baseline.Config {
	cfg := baseline.DefaultConfig()
	mode, err := baseline.ModeByName(b.Mode)
	if err != nil {
		v.bad("baseline.mode", b.Mode, "learn, detect or both")
	}
	if b.AuditFile != "" && !path.IsAbs(b.AuditFile) {
		v.bad("baseline.audit_file", b.AuditFile, "an absolute path")
	}
	if b.File != "" && !path.IsAbs(b.File) {
		v.bad("baseline.file", b.File, "an absolute path")
	}
	if b.MinWindows == 0 {
		v.bad("baseline.min_windows", "0", "a number of at least 1")
	}
	v.within("baseline.max_workloads", b.MaxWorkloads, 16, 1<<16)
	cfg.Mode = mode
	cfg.Node = b.node(v)
	cfg.Learning = v.duration("baseline.learning_period", b.LearningPeriod, 0, year)
	cfg.MinWindows = b.MinWindows
	cfg.Hours = b.HourOfDay
	cfg.Exclude = b.Exclude
	cfg.MaxWorkloads = b.MaxWorkloads
	for i, m := range b.Maintenance {
		cfg.Maintenance = append(cfg.Maintenance, m.settings(v, fmt.Sprintf("baseline.maintenance[%d]", i)))
	}
	return cfg
}

func (b *Baseline) node(v *check) string {
	if b.Node != "" {
		return b.Node
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		v.bad("baseline.node", "", "a name, because this host has none")
	}
	return name
}

func (m *Maintenance) settings(v *check, key string) baseline.Maintenance {
	out := baseline.Maintenance{Workloads: m.Workloads, Start: m.Start}
	single, repeated := m.From != "" || m.To != "", m.Start != "" || m.Duration != ""
	if single == repeated {
		v.bad(key, m.Workloads, "either from and to, or start and duration")
		return out
	}
	if single {
		out.From, out.To = v.time(key+".from", m.From), v.time(key+".to", m.To)
		return out
	}
	out.Duration = v.duration(key+".duration", m.Duration, time.Minute, week)
	if m.TimeZone != "" {
		location, err := time.LoadLocation(m.TimeZone)
		if err != nil {
			v.bad(key+".time_zone", m.TimeZone, "a name of the time zone database such as Europe/Berlin")
		}
		out.Location = location
	}
	return out
}

func (v *check) time(key, value string) time.Time {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		v.bad(key, value, "a time in RFC 3339 such as 2026-11-28T02:00:00Z")
	}
	return t
}

// auditFile returns where what is learned from audit events is kept, empty for nowhere.
func (b *Baseline) auditFile() string {
	if b.AuditFile != "" || b.File == "" {
		return b.AuditFile
	}
	return b.File + ".k8s_audit"
}
