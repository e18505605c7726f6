package lint

import (
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// suggested are the fields that Falco adds to each alert where the container plugin is loaded and append_output says
// suggested_output, as it does in the falco.yaml that Falco ships.
var suggested = []string{
	"container.id", "container.name", "container.image.repository", "container.image.tag", "k8s.pod.name", "k8s.ns.name",
}

// unbounded are fields whose text may be of any length.
var unbounded = []string{
	"proc.env", "proc.aenv", "proc.acmdline", "evt.args", "evt.buffer", "evt.plugininfo", "container.mounts", "container.labels",
	"thread.cgroups",
}

const (
	// maxDiscordFields is how many fields Discord takes in one message.
	maxDiscordFields = 25
	// ownDiscordFields are those that Falcosidekick adds: rule, priority, source, hostname, tags and time.
	ownDiscordFields = 6
)

// checkOutput holds the fields of a rule's output against what Falcosidekick and its outputs document.
func (r *run) checkOutput(rule ruleset.Rule) {
	written := map[string]string{} // key: what is written to it
	var keys []string
	for _, token := range rule.Format {
		if token.Field == "" {
			continue
		}
		at := rule.OutputAt(token.At)
		name, arg, hasArg := strings.Cut(strings.TrimSuffix(token.Key, "]"), "[")
		if known, ok := r.fields.Field(name); ok {
			if problem := known.CheckArg(arg, hasArg); problem != "" {
				r.find(at, FieldArgument, "%s", problem)
			}
		} else if r.fields.HasClass(name) {
			r.find(at, UnknownField, "no field is named %s: %s", name, r.instead(name))
		}
		if hasArg {
			r.find(at, OutputArgument, "%%%s puts brackets into the name of the alert's field, and unless Falcosidekick's setting bracketreplacer says what to write for "+
				"them, its outputs change the name each in a way of its own (Loki drops them, AWS SNS writes a dot): write %%%s, or a field without an argument",
				token.Field, name)
		}
		switch other, ok := written[token.Key]; {
		case !ok:
			keys = append(keys, token.Key)
			written[token.Key] = token.Field
		case other != token.Field:
			r.find(at, OutputConflict, "%%%s and %%%s are both written as %s into the alert's fields, where only one can be: keep one", other, token.Field, token.Key)
		}
		if slices.ContainsFunc(unbounded, func(f string) bool { return name == f || strings.HasPrefix(name, f+".") }) && !hasArg {
			r.find(at, OutputLength, "%%%s can be of any length, and in alerts of more than 4096 bytes Falcosidekick cuts every text of more than 512: write a part "+
				"of it, or leave it out", token.Field)
		}
		for _, other := range slices.Concat(keys, suggested) {
			if strings.HasPrefix(other, token.Key+".") || strings.HasPrefix(token.Key, other+".") {
				r.find(at, OutputConflict, "%s and %s cannot both be fields of an alert in Elasticsearch, where the longer one is a part of the shorter: Falcosidekick avoids "+
					"that only with its setting elasticsearch.flattenfields; keep one", token.Key, other)
			}
		}
	}
	if n := len(keys); n+ownDiscordFields > maxDiscordFields {
		r.find(rule.OutputAt(0), OutputLength, "the output of rule %q has %d fields; with the %d that Falcosidekick adds they are more than the %d that Discord takes in a "+
			"message: leave %d out", rule.Name, n, ownDiscordFields, maxDiscordFields, n+ownDiscordFields-maxDiscordFields)
	}
}
