package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
)

// maxDryRun is how long a Falco may take to load its plugins and rules.
const maxDryRun = 2 * time.Minute

// dryRun lets Falco load everything without an event. The plugin gets a copy of its baseline, because the file is that of the
// Falco that may be running.
func (e *exam) dryRun() {
	if e.opts.Falco == "" || e.release.Falco == "" {
		return
	}
	dir, err := os.MkdirTemp("", "datastaging-doctor-")
	if err != nil {
		e.say(Skip, checkDryRun, nowhere, "%v", err)
		return
	}
	defer os.RemoveAll(dir)
	options := []string{"log_stderr=true", "log_syslog=false", "log_level=info"}
	if p, _, ok := e.find(pluginName); ok {
		init := p.entry.Get("init_config")
		for _, key := range []string{"file", "audit_file"} {
			file := baselineSetting(init, key)
			if file == "" {
				continue
			}
			if !init.IsMapping() {
				e.say(Skip, checkDryRun, init.Pos, "init_config is text, so that Falco could not be given a copy of the baseline to try: write it as a mapping")
				return
			}
			copied := filepath.Join(dir, key)
			if text, err := os.ReadFile(file); err == nil {
				if err := os.WriteFile(copied, text, 0o600); err != nil {
					e.say(Skip, checkDryRun, nowhere, "%v", err)
					return
				}
			}
			options = append(options, fmt.Sprintf("plugins[%d].init_config.baseline.%s=%s", p.index, key, copied))
		}
	}
	said, err := engine.DryRun(e.ctx, e.opts.Falco, e.opts.Config, options, maxDryRun)
	switch {
	case e.ctx.Err() != nil:
	case err != nil:
		e.say(Fail, checkDryRun, nowhere, "%v", err)
	default:
		for _, s := range said.Schema {
			e.say(Warn, checkDryRun, nowhere, "Falco finds keys in %s that it does not know, or values of the wrong kind: %s", s.File, s.Msg)
		}
		e.say(OK, checkDryRun, nowhere, "Falco loads its configuration, plugins and rules")
	}
}
