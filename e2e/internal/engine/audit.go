package engine

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
)

// k8saudit is the name of Falco's own plugin that reads audit logs.
const k8saudit = "k8saudit"

// maxK8SAuditLine is how long a line of a file may be for the k8saudit plugin, in bytes with its end: it reads with a
// bufio.Scanner, and ends with an error at a longer one.
const maxK8SAuditLine = bufio.MaxScanTokenSize

// findAuditPlugin gives the path of the plugin to read audit logs with: the one that is asked for by name, that of a Falco's
// plugin folders, or else ours; empty where there is none.
func findAuditPlugin(opts Options, folders []string) string {
	if opts.K8SAudit != "" {
		return opts.K8SAudit
	}
	if path := findIn(folders, "lib"+k8saudit+".so"); path != "" {
		return path
	}
	return opts.AuditSource
}

// findIn gives the path of a file in the first of the folders that has it; empty where none has.
func findIn(folders []string, name string) string {
	for _, dir := range folders {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// pluginName is the name of the plugin in a library, libNAME.so. Engines open a source by its plugin's name.
func pluginName(library string) string {
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(library), "lib"), ".so")
}

// openAudit prepares an audit log for the plugin that reads it: a copy with a list of one event a line, and nothing else. So
// every plugin gives the same events with the same numbers, and an engine's own complaints are never about the log. What is
// passed over goes to say. Events that the plugin cannot read are the cut.
func openAudit(ctx context.Context, path, plugin string, say func(string)) (input, error) {
	in := input{path: path, hostname: localHostname(), source: auditlog.Source, clean: func() {}}
	if plugin == "" {
		return in, fmt.Errorf("read the audit log %s: there is no plugin for it: name Falco's k8saudit plugin with K8SAUDIT_LIB, "+
			"or build libauditsource.so with make", path)
	}
	from, err := os.Open(path)
	if err != nil {
		return in, fmt.Errorf("open the audit log: %w", err)
	}
	defer from.Close()
	reader, err := auditlog.NewReader(from)
	if err != nil {
		return in, fmt.Errorf("read the audit log %s: %w", path, err)
	}
	to, err := os.CreateTemp("", "datastaging-*.jsonl")
	if err != nil {
		return in, err
	}
	in.path, in.clean = to.Name(), func() { os.Remove(to.Name()) }
	limit := math.MaxInt
	if pluginName(plugin) == k8saudit {
		limit = maxK8SAuditLine
	}
	log, err := copyAudit(ctx, to, reader, limit)
	if err := errors.Join(err, to.Close()); err != nil {
		in.clean()
		return in, fmt.Errorf("read the audit log %s: %w", path, err)
	}
	if log.foreign > 0 {
		say(fmt.Sprintf("audit log %s: passed over what is no audit event, %d in all, first %v\n", path, log.foreign, log.firstForeign))
	}
	switch {
	case log.damage != nil:
		in.cut = fmt.Errorf("read the audit log %s: it is damaged or cut off after %d events: %w", path, log.events, log.damage)
	case log.large > 0:
		in.cut = fmt.Errorf("read the audit log %s: long events were left out, %d in all, the first in line %d: the k8saudit plugin "+
			"takes lines of up to %d bytes from a file; name libauditsource.so with K8SAUDIT_LIB to replay them, without ka fields",
			path, log.large, log.firstLarge, limit)
	}
	if log.events == 0 {
		in.clean()
		return in, cmp.Or(in.cut, log.empty(path))
	}
	return in, nil
}

// refuseAudit refuses a request of an audit log where the engine is to be run by hand.
func refuseAudit(req Request) error {
	if SourceOf(req.Capture) != auditlog.Source {
		return nil
	}
	return fmt.Errorf("run the engine by hand: it reads a copy of the audit log %s that is made for it: use stagectl replay", req.Capture)
}

// auditCopy is what was copied of a log, and what was not.
type auditCopy struct {
	events       int   // copied
	foreign      int   // lines, or items of a list, that are no event
	firstForeign error // a *auditlog.LineError
	large        int   // events above the limit
	firstLarge   int   // line
	damage       error // what kept the rest from being read
}

// empty is the error of a log without events.
func (c auditCopy) empty(path string) error {
	if c.firstForeign == nil {
		return fmt.Errorf("read the audit log %s: its lists hold no event", path)
	}
	return fmt.Errorf("read the audit log %s: it holds no audit event; first %w", path, c.firstForeign)
}

// A line of the copy is a list, whose items need not say what they are.
const (
	listStart = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[`
	listEnd   = "]}\n"
)

// copyAudit copies the events of a log in lines of up to limit bytes. Its error is one of writing.
func copyAudit(ctx context.Context, to io.Writer, from *auditlog.Reader, limit int) (auditCopy, error) {
	var log auditCopy
	out := bufio.NewWriterSize(to, 64<<10)
	var copied []byte
	for ctx.Err() == nil {
		event, err := from.Next()
		var line *auditlog.LineError
		switch {
		case errors.As(err, &line):
			if log.foreign++; log.firstForeign == nil {
				log.firstForeign = line
			}
			continue
		case errors.Is(err, io.EOF):
			return log, out.Flush()
		case err != nil:
			log.damage = err
			return log, out.Flush()
		}
		copied = append(append(append(copied[:0], listStart...), event.JSON...), listEnd...)
		if len(copied) > limit {
			if log.large++; log.firstLarge == 0 {
				log.firstLarge = event.Line
			}
			continue
		}
		if _, err := out.Write(copied); err != nil {
			return log, err
		}
		log.events++
	}
	return log, ctx.Err()
}
