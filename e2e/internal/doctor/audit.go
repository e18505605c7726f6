package doctor

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/e2e/internal/settings"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

const (
	// auditPlugin is Falco's plugin for audit events. Those that fetch them from a cloud are named alike: k8saudit-eks.
	auditPlugin = "k8saudit"
	// auditSuffix is added to baseline.file where baseline.audit_file is not set.
	auditSuffix = ".k8s_audit"
)

// auditSource is the plugin that is loaded for audit events.
func (e *exam) auditSource() (plugin, bool) {
	i := slices.IndexFunc(e.loaded, func(p plugin) bool { return isAuditPlugin(p.name) })
	if i < 0 {
		return plugin{}, false
	}
	return e.loaded[i], true
}

func isAuditPlugin(name string) bool {
	return name == auditPlugin || strings.HasPrefix(name, auditPlugin+"-")
}

// auditAlone reports whether audit events are all that Falco looks at, for which it needs no driver.
func (e *exam) auditAlone() bool {
	_, ok := e.auditSource()
	return ok && e.settings.Get("engine", "kind").Text() == "nodriver"
}

// auditBundle is the first of the files with rules of ours on audit events, or -1.
func (e *exam) auditBundle(files []rulesFile, set *ruleset.Set) int {
	for _, r := range set.Rules() {
		if r.Source == auditlog.Source && e.asksPlugin(r) {
			return indexOf(files, r.Pos)
		}
	}
	return -1
}

// audit looks at whether audit events and our rules on them are there together. bundle is the file of those rules, or -1; loads is
// whether all rules load.
func (e *exam) audit(files []rulesFile, bundle int, loads bool) {
	p, source := e.auditSource()
	switch {
	case source && missing(p.library):
		e.say(Fail, checkAudit, p.entry.Get("library_path").Pos, "the library of the plugin %s, %s, is not there: Falco does not start", p.name, p.library)
	case source && bundle < 0 && loads:
		e.say(Warn, checkAudit, p.entry.Pos, "%s brings audit events, and no rule asks the plugin about them: nobody is told who reaches into pods or collects secrets", p.name).
			fix(p.entry.Pos.File, "rules_files:\n  - /etc/falco/datastaging_k8s_audit_rules.yaml\n")
	case source && bundle >= 0:
		e.say(OK, checkAudit, p.entry.Pos, "%s brings audit events, and %s has rules on them", p.name, files[bundle].Name)
	case bundle >= 0:
		l := e.say(Fail, checkAudit, files[bundle].entry.Pos, "no plugin is loaded that brings audit events: Falco passes over the rules on them, in %s", files[bundle].Name)
		e.loadAuditPlugin(l, files[bundle].entry)
	}
}

// loadAuditPlugin says how a plugin for audit events comes to be loaded: beside the rules on them, in the list that is there.
func (e *exam) loadAuditPlugin(l *Line, rules *settings.Value) {
	file, name, entry := e.fileOf(rules), auditPlugin, "plugins:\n  - name: k8saudit\n    library_path: libk8saudit.so\n    open_params: http://:9765/k8s-audit\n"
	for _, described := range e.settings.Get("plugins").Items() {
		if isAuditPlugin(described.Get("name").Text()) {
			name, entry = described.Get("name").Text(), ""
		}
	}
	var names []string
	for _, item := range e.settings.Get("load_plugins").Items() {
		if item.Pos.File == file {
			names = append(names, item.Text())
		}
	}
	l.fix(file, entry+"load_plugins: ["+strings.Join(append(names, name), ", ")+"]\n")
}

// auditBaseline looks at the file that what is learned of identities is kept in. Where the plugin cannot use it, it learns anew in memory.
func (e *exam) auditBaseline(init, entry *settings.Value) {
	if _, ok := e.auditSource(); !ok {
		return
	}
	file, mode := baselineOf(init)
	k := keptIn{key: "audit_file", path: baselineSetting(init, "audit_file"), mode: mode, otherwise: "nothing that was learned of identities is used, and nothing is kept"}
	k.at = placeOf(init, entry, []string{"baseline", k.key})
	switch {
	case k.path == "" && file == "":
		return // that baseline.file is missing is said
	case k.path == "":
		k.path = file + auditSuffix
	case filepath.Clean(k.path) == filepath.Clean(file) && mode != "detect":
		e.say(Fail, checkBaseline, k.at, "baseline.audit_file and baseline.file are one file: Falco runs the plugin once for each event source, and each takes what the other wrote").
			fix(k.at.File, "plugins:\n  - name: datastaging\n    init_config:\n      baseline:\n        audit_file: "+file+auditSuffix+"\n")
		return
	}
	workloads, ok := e.readBaseline(k)
	if !ok {
		return
	}
	if i := slices.IndexFunc(workloads, func(w baseline.Workload) bool { return !isIdentity(w) }); i >= 0 && !slices.ContainsFunc(workloads, isIdentity) {
		e.say(Warn, checkBaseline, k.at, "%s is no baseline of audit events: what it has are workloads such as %s, and identities are learned anew; name the file that was learned from audit events",
			k.path, workloads[i].Name)
		return
	}
	e.say(OK, checkBaseline, k.at, "%s has %d identities", k.path, len(workloads))
}

// isIdentity reports whether a workload was learned from audit events: of those, and of nothing else, the verbs are known.
func isIdentity(w baseline.Workload) bool {
	return w.Values[baseline.Verb].NumKnown+len(w.Values[baseline.Verb].Candidates) > 0
}
