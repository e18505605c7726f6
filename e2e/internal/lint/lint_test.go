package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/lint"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// good is a rule without findings, in parts: macros, name, condition, output and tags.
const good = goodMacros + goodRule

const goodMacros = `- macro: enough
  condition: (staging.bytes >= 1048576)
- macro: container
  condition: (staging.in_container = true)
`

const goodRule = `- rule: Good Rule
  desc: d
  condition: evt.type in (close, procexit) and container and enough and staging.once[good_rule] = true
  output: staged (workload=%baseline.workload)
  priority: NOTICE
  tags: [maturity_sandbox, container, mitre_collection, T1074.001]
`

// with is the good rule with parts of it replaced, old and new in turn.
func with(replaced ...string) string {
	for i := 0; i < len(replaced); i += 2 {
		if !strings.Contains(good, replaced[i]) {
			panic("no " + replaced[i])
		}
	}
	return strings.NewReplacer(replaced...).Replace(good)
}

func run(t *testing.T, before string, files ...string) lint.Report {
	l, err := lint.New()
	require.NoError(t, err)
	var loaded, checked []ruleset.File
	if before != "" {
		loaded = append(loaded, ruleset.File{Name: "bundle.yaml", Data: []byte(before)})
	}
	for i, text := range files {
		checked = append(checked, ruleset.File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(text)})
	}
	return l.Files(loaded, checked)
}

// lines are the findings as "place check message".
func lines(r lint.Report) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Pos, f.Check, f.Msg))
	}
	return out
}

func TestChecks(t *testing.T) {
	const once = "and staging.once[good_rule] = true"
	for _, tt := range []struct {
		name, text string
		want       []string // beginning and part of each finding, with "..." between them
	}{
		{"a good rule has none", good, nil},

		{"a condition that cannot be parsed", with("and enough", "and and enough"), []string{"a.yaml:7:62 load-error ...before \"and\"",
			"a.yaml:1:3 unused", "a.yaml:3:3 unused"}},
		{"a macro that is not defined", with("and enough", "and enuogh"), []string{"a.yaml:7:62 load-error macro \"enuogh\" is not defined", "a.yaml:1:3 unused"}},
		{"a priority that there is not", with("NOTICE", "LOW"), []string{`a.yaml:9:13 load-error ..."LOW" is no priority: write one of EMERGENCY`,
			"a.yaml:1:3 unused", "a.yaml:3:3 unused"}},
		{"a key that is missing", with("  output: staged (workload=%baseline.workload)\n", ""), []string{`a.yaml:5:3 load-error ...has no "output"`, "a.yaml:1:3 unused", "a.yaml:3:3 unused"}},
		{"a key that is there twice", with("desc: d", "desc: d\n  desc: e"), []string{`a.yaml:7:3 load-error key "desc" is there twice`}},
		{"a key that there is not", with("desc: d", "desc: d\n  severity: high"), []string{`a.yaml:7:3 unknown-key ..."severity" is unknown`}},
		{"a macro without use", with("and enough", ""), []string{`a.yaml:1:3 unused macro "enough"`}},
		{"a list without use", good + "- list: l\n  items: [a]\n", []string{`a.yaml:11:3 unused list "l"`}},
		{"a deprecated field", with("and enough", "and enough and evt.dir = <"), []string{"a.yaml:7:14 deprecated ...evt.dir", "a.yaml:7:73 plugin-first"}},

		{"a rule that is there twice", good + goodRule, []string{`a.yaml:11:3 redefined rule "Good Rule" is defined already, in a.yaml:5:3`}},

		{"a field of Falco that there is not", with("and enough", "and enough and staging.files > 0 and not proc.nmae exists and staging.dir exists"),
			[]string{"a.yaml:7:99 unknown-field no field is named proc.nmae: write proc.name", "a.yaml:7:95 plugin-first"}},
		{"a field of the plugin that there is not", with("staging.bytes >=", "staging.volume >="), []string{"a.yaml:2:15 unknown-field no field is named staging.volume: the README lists"}},
		{"a field of no class", with("and enough", "and enough and prc.name = sh"), []string{"a.yaml:5:3 unknown-field ...prc.name...write proc.name", "a.yaml:7:73 plugin-first"}},
		{"a field of no class, where another plugin is required", with("and enough", "and enough and other.name exists and staging.dir exists") +
			"- required_plugin_versions: [{name: other, version: 1.0.0}]\n", []string{"a.yaml:7:73 plugin-first"}},
		{"a window that is none", with("staging.bytes >=", "staging.bytes[5] >="), []string{"a.yaml:2:15 field-argument staging.bytes[5] is no window: write one from 1s to 24h"}},
		{"a metric that there is not", with("staging.bytes >=", "baseline.ratio[bytes] >="), []string{"a.yaml:2:15 field-argument baseline.ratio needs a metric...staged_bytes"}},
		{"a value that a field never has", with("(staging.bytes >= 1048576)", "(staging.phase in (stage, archived))"),
			[]string{`a.yaml:2:40 field-value staging.phase is never "archived": write one of none, collect, stage, archive, exfiltrate`}},
		{"a number that is none", with(">= 1048576", "= much"), []string{`a.yaml:2:31 field-value staging.bytes is a number, and "much" is none`}},
		{"a flag that is compared with text", with("staging.in_container = true", "staging.in_container = yes"), []string{`a.yaml:4:38 field-value ...true, false`}},
		{"an event type that there is not", with("procexit", "procexti"), []string{`a.yaml:7:34 unknown-event-type no event type is named "procexti": write procexit`}},
		{"too many event types", with("evt.type in (close, procexit) and ", "proc.name = sh and "), []string{`a.yaml:7:14 event-types ...454 event types`}},
		{"too many event types, by leaving out", with("evt.type in (close, procexit)", "evt.type != close"), []string{`a.yaml:7:14 event-types ...452 event types`}},
		{"too many event types, on purpose", with("evt.type in (close, procexit) and ", "proc.name = sh and ", "desc: d", "desc: d\n  warn_evttypes: false"), nil},
		{"no event type", with("in (close, procexit)", "= close and evt.type = procexit"), []string{`a.yaml:7:14 event-types ...matches no event`}},

		{"a threshold in the rule", with("and enough", "and enough and staging.files > 10"), []string{`a.yaml:7:73 bare-threshold the threshold staging.files > 10`}},
		{"a comparison with zero is no threshold", with("and enough", "and enough and staging.files > 0"), nil},
		{"a cheap check behind a dear one", with("evt.type in (close, procexit) and container", "container and evt.type in (close, procexit)"),
			[]string{"a.yaml:7:28 plugin-first evt.type in (close, procexit) is asked after staging.in_container = true"}},
		{"a cheap check behind a dear one in the same macro", with("(staging.bytes >= 1048576)", "(staging.bytes >= 1048576 and fd.typechar = f)"),
			[]string{"a.yaml:7:62 plugin-first fd.typechar = f is asked after staging.in_container"}},
		{"a dear check may hold a cheap one in an alternative", with("and enough", "and (enough or proc.name = sh)"), nil},

		{"no staging.once", with(once, ""), []string{`a.yaml:7:14 once ...end it with "and staging.once[good_rule] = true"`}},
		{"no field of the plugin and no staging.once", "- rule: Plain\n  desc: d\n  condition: evt.type = execve\n  output: o\n  priority: INFO\n" +
			"  tags: [maturity_sandbox, mitre_execution, T1059.004]\n", nil},
		{"staging.once not last", with("and enough "+once, once+" and enough"), []string{"a.yaml:7:97 once staging.bytes >= 1048576 is asked after staging.once[good_rule], which has spent"}},
		{"staging.once not last inside a macro", with("(staging.bytes >= 1048576)", "(staging.once[good_rule] = true and staging.bytes >= 1048576)", once, ""),
			[]string{"a.yaml:7:62 once staging.bytes >= 1048576 is asked after"}},
		{"staging.once last inside a macro", with("(staging.bytes >= 1048576)", "(staging.bytes >= 1048576 and staging.once[good_rule] = true)", once, ""), nil},
		{"staging.once twice", with(once, once+" "+once), []string{"a.yaml:7:14 once ...asks staging.once 2 times"}},
		{"staging.once in an alternative", with(once, "and (proc.name = sh or staging.once[good_rule] = true)"), []string{`a.yaml:7:74 once ...inside "or" or "not"`}},
		{"staging.once the other way", with(once, "and staging.once[good_rule] = false"), []string{`a.yaml:7:73 once ...write "staging.once[good_rule] = true"`}},
		{"two rules with one key", good + strings.Replace(goodRule, "Good Rule", "Twin", 1),
			[]string{`a.yaml:13:14 once-key rule "Twin" shares the key "good_rule" of staging.once with rule "Good Rule"...staging.once[twin]`}},
		{"two rules with one key and intervals", strings.Replace(good, "[good_rule]", "[good_rule/1h]", 1) + strings.Replace(goodRule, "Good Rule", "Twin", 1),
			[]string{`a.yaml:13:14 once-key`}},
		{"an interval that is none", strings.Replace(good, "[good_rule]", "[good_rule/2d]", 1), []string{`a.yaml:7:73 field-argument staging.once[good_rule/2d]: "2d" is no interval`}},
		{"a rule on what containers alone have", with("staging.in_container = true", "posture.sensitive = true"), nil},
		{"a rule on what containers alone have, or not", with("staging.in_container = true", "posture.sensitive = true or staging.files > 0"), []string{"a.yaml:7:14 host"}},
		{"a rule on what has no posture", with("staging.in_container = true", "not posture.sensitive = true"), []string{"a.yaml:7:14 host"}},
		{"nothing about the host", with("and container", ""), []string{`a.yaml:7:14 host ...staging.in_container = true`, "a.yaml:3:3 unused"}},
		{"a rule about the host", with("staging.in_container = true", "staging.in_container = false"), nil},
		{"an exception of a whole container", good + "  exceptions:\n    - {name: x, fields: [baseline.workload, container.image.repository], comps: [=, =], values: [[a, b]]}\n", nil},
		{"an exception of an event", good + "  exceptions:\n    - {name: x, fields: fd.name, values: [/tmp/x]}\n", []string{`a.yaml:12:7 exception exception "x" asks fd.name, which changes`}},
		{"an exception of a container where a workload shares the key", strings.Replace(good, "[good_rule]", "[good_rule/1h/workload]", 1) +
			"  exceptions:\n    - {name: x, fields: [baseline.workload, container.name], comps: [=, =], values: [[a, b]]}\n",
			[]string{`a.yaml:12:7 exception exception "x" asks container.name, which differs between the containers of a workload`}},
		{"whom a key is not kept for", strings.Replace(good, "[good_rule]", "[good_rule/1h/node]", 1), []string{`a.yaml:7:73 field-argument staging.once[good_rule/1h/node]: "node" says not whom`}},
		{"an exception of a minute", good + "  exceptions:\n    - {name: x, fields: [\"baseline.observed[staged_bytes]\"], comps: [<], values: [[5]]}\n", []string{`a.yaml:12:7 exception ...baseline.observed[staged_bytes]`}},

		{"an argument in the output", with("%baseline.workload", "%staging.bytes[5m]"), []string{"a.yaml:8:28 output-argument %staging.bytes[5m]...bracketreplacer...write %staging.bytes,"}},
		{"a field of the output that there is not", with("%baseline.workload", "%baseline.work"), []string{"a.yaml:8:28 unknown-field no field is named baseline.work"}},
		{"an argument of the output that is none", with("%baseline.workload", "%staging.bytes[5x]"), []string{"a.yaml:8:28 field-argument", "a.yaml:8:28 output-argument"}},
		{"a field that is part of one that Falco adds", with("%baseline.workload", "%container.image"), []string{"a.yaml:8:28 output-conflict container.image and container.image.repository...flattenfields",
			"a.yaml:8:28 output-conflict container.image and container.image.tag"}},
		{"a field that is part of another", with("%baseline.workload", "%evt.time.s at %evt.time"), []string{"a.yaml:8:43 output-conflict evt.time and evt.time.s"}},
		{"a field that another is part of", with("%baseline.workload", "%evt.time at %evt.time.s"), []string{"a.yaml:8:41 output-conflict evt.time.s and evt.time"}},
		{"a field in two forms", with("%baseline.workload", "%proc.name or %toupper(proc.name)"), []string{"a.yaml:8:42 output-conflict %proc.name and %toupper(proc.name) are both written as proc.name"}},
		{"a field of any length", with("%baseline.workload", "%proc.env"), []string{"a.yaml:8:28 output-length %proc.env can be of any length"}},
		{"too many fields", with("%baseline.workload", manyFields(20)), []string{"a.yaml:8:11 output-length ...has 20 fields; with the 6...the 25 that Discord takes in a message: leave 1 out"}},
		{"just not too many fields", with("%baseline.workload", manyFields(19)), nil},

		{"a rule on audit events", auditRule("audit.action = copy and staging.once[x] = true", "%audit.user %baseline.workload"), nil},
		{"a field of system calls in a rule on audit events", auditRule("audit.action = copy and staging.once[x] = true", "%proc.name"), []string{
			`a.yaml:1:3 unknown-field rule "Audit Rule" is about events of the source k8s_audit, which have no proc.name`}},
		{"fields of audit events", auditRule("ka.verb = create and ka.req.pod.containers.image[0] in (a) and jevt.value[/stage] = x and staging.once[x] = true",
			"%ka.user.name"), nil},
		{"a field of audit events that is misspelt", auditRule("ka.verbb = create and staging.once[x] = true", "o"), []string{
			"a.yaml:3:14 unknown-field no field is named ka.verbb: write ka.verb"}},
		{"one in the output", auditRule("ka.verb = create and staging.once[x] = true", "%ka.usr.name"), []string{"a.yaml:4:11 unknown-field no field is named ka.usr.name: write ka.user.name"}},
		{"an index that is none", auditRule("ka.req.pod.containers.image[first] in (a) and staging.once[x] = true", "o"), []string{
			`a.yaml:3:14 field-argument ..."first" is no index: write a whole number`}},
		{"an index that Falco does not read", auditRule("ka.req.pod.containers.image[01] in (a) and staging.once[x] = true", "o"), []string{"a.yaml:3:14 field-argument"}},
		{"an argument that is needed", auditRule("jevt.value = x and staging.once[x] = true", "o"), []string{"a.yaml:3:14 field-argument jevt.value needs an argument"}},
		{"an operator that lists do not take", auditRule("ka.user.groups = a and staging.once[x] = true", "o"), []string{
			"a.yaml:3:14 field-operator ka.user.groups is a list, which = cannot compare: write one of in, intersects, exists"}},
		{"an operator that numbers do not take", auditRule("evt.num startswith 1 and staging.once[x] = true", "o"), []string{
			"a.yaml:3:14 field-operator evt.num is of the type uint64, which startswith cannot compare: write one of =, ==,"}},
		{"a value that is no number", auditRule("evt.num = one and staging.once[x] = true", "o"), []string{`a.yaml:3:24 field-value evt.num is a number, and "one" is none`}},
		{"fields of audit events in a rule on system calls", with("staging.in_container = true", "ka.verb = get and staging.in_container = true"), []string{
			`a.yaml:5:3 unknown-field rule "Good Rule" is about events of the source syscall, which have no ka.verb: leave it out, or write source: k8s_audit`}},
		{"an event type of a rule on audit events", auditRule("evt.type = open and staging.once[x] = true", "o"), []string{
			"a.yaml:1:3 unknown-field ...source k8s_audit, which have no evt.type"}},
		{"a class that no audit event has", auditRule("kb.verb = get and staging.once[x] = true", "o"), []string{
			"a.yaml:1:3 unknown-field ...names the field kb.verb, of a class that neither Falco nor the plugin has: write ka.verb"}},
		{"a list in an exception", auditRule("ka.verb = get and staging.once[x] = true", "o") +
			"  exceptions:\n    - {name: groups, fields: [ka.user.groups], comps: [=], values: [[a]]}\n", []string{"a.yaml:9:7 field-operator", "a.yaml:9:7 exception"}},
		{"an action that audit events never have", auditRule("audit.action = cp and staging.once[x] = true", "o"), []string{`a.yaml:3:29 field-value audit.action is never "cp": write one of other, deploy`}},
		{"no tags", with("  tags: [maturity_sandbox, container, mitre_collection, T1074.001]\n", ""), []string{"a.yaml:5:3 maturity ...has no tags"}},
		{"maturity not first", with("maturity_sandbox, container", "container, maturity_sandbox"), []string{"a.yaml:10:10 maturity the first tag of rule \"Good Rule\" is container"}},
		{"a maturity that there is not", with("maturity_sandbox", "maturity_young"), []string{"a.yaml:10:10 maturity ...maturity_stable, maturity_incubating"}},
		{"a technique that there is not", with("T1074.001", "T1074.009"), []string{"a.yaml:10:57 attack ATT&CK 18.1 has no technique T1074.009", "a.yaml:10:10 attack ...names no technique"}},
		{"a technique that is misspelt", with("T1074.001", "T1560, T1074.1"), []string{"a.yaml:10:64 attack ...no technique T1074.1"}},
		{"a technique of another tactic", with("T1074.001", "T1074.001, T1041"), []string{"a.yaml:10:68 attack T1041 (Exfiltration Over C2 Channel) serves exfiltration...add mitre_exfiltration"}},
		{"a tactic that there is not", with("mitre_collection", "mitre_collection, mitre_theft"), []string{"a.yaml:10:57 attack ATT&CK 18.1 has no tactic theft"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assertFindings(t, tt.want, run(t, "", tt.text))
		})
	}
}

func auditRule(condition, output string) string {
	return "- rule: Audit Rule\n  desc: d\n  condition: " + condition + "\n  output: " + output +
		"\n  priority: NOTICE\n  source: k8s_audit\n  tags: [maturity_sandbox, k8s, mitre_collection, T1074.001]\n"
}

// assertFindings wants each finding once, in any order.
func assertFindings(t *testing.T, want []string, r lint.Report) {
	t.Helper()
	got := lines(r)
	if !assert.Len(t, got, len(want), strings.Join(got, "\n")) {
		return
	}
	for _, w := range want {
		start, parts, _ := strings.Cut(w, "...")
		assert.True(t, slices.ContainsFunc(got, func(line string) bool {
			if !strings.HasPrefix(line, start) {
				return false
			}
			for _, part := range strings.Split(parts, "...") {
				if !strings.Contains(line, part) {
					return false
				}
			}
			return true
		}), "no finding %q in\n%s", w, strings.Join(got, "\n"))
	}
}

func manyFields(n int) string {
	names := []string{
		"fd.name", "fd.num", "fd.type", "fd.sport", "fd.cport", "fd.rport", "fd.lport", "fd.sip", "fd.cip", "fd.rip", "fd.lip",
		"proc.name", "proc.pid", "proc.ppid", "proc.pname", "proc.vpid", "proc.sid", "proc.exe", "user.name", "user.uid",
	}
	return "%" + strings.Join(names[:n], " %")
}

func TestFilesAreCheckedAfterWhatIsLoadedBefore(t *testing.T) {
	// The bundle's own mistakes are not the files'.
	bundle := strings.Replace(good, "tags: [maturity_sandbox, ", "tags: [", 1)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"an override", "- macro: enough\n  condition: (staging.bytes >= 7)\n  override: {condition: replace}\n", nil},
		{"an override of a name that there is not", "- macro: enuogh\n  condition: (staging.bytes >= 7)\n  override: {condition: replace}\n", []string{
			`a.yaml:1:3 override-nothing macro "enuogh" replaces nothing`, "a.yaml:1:3 unused"}},
		{"an override by the same", "- rule: Good Rule\n  priority: notice\n  enabled: false\n  override: {priority: replace, enabled: replace}\n", []string{
			`a.yaml:1:3 override-nothing rule "Good Rule" replaces priority by what it was`}},
		{"an override of a rule that there is not", "- rule: Best Rule\n  priority: NOTICE\n  override: {priority: replace}\n", []string{
			"a.yaml:1:3 load-error ...no rule of this name to override"}},
		{"a definition in place of the bundle's", "- macro: enough\n  condition: (staging.bytes >= 7)\n", []string{
			`a.yaml:1:3 redefined macro "enough" is defined already, in bundle.yaml:1:3`}},
		{"a condition behind staging.once", "- rule: Good Rule\n  condition: and fd.name startswith /tmp\n  override: {condition: append}\n", []string{
			"a.yaml:2:18 plugin-first", "a.yaml:2:18 once fd.name startswith /tmp is asked after staging.once[good_rule]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assertFindings(t, tt.want, run(t, bundle, tt.text))
		})
	}
}

func TestDocuments(t *testing.T) {
	sections := func(replaced ...string) string {
		text := `# Good Rule

## Goal

Long enough to say something, as a sentence does.

## Categorization

- ATT&CK: T1074.001 (Data Staged: Local Data
  Staging)
- Tactic: Collection (TA0009)

## Strategy Abstract

Long enough to say something, as a sentence does.

## Technical Context

Long enough to say something, as a sentence does.

## Blind Spots and Assumptions

Long enough to say something, as a sentence does.

## False Positives

Long enough to say something, as a sentence does.

## Priority

NOTICE

Long enough to say something, as a sentence does.

## Validation

Long enough to say something, as a sentence does.

## Response

Long enough to say something, as a sentence does.
`
		return strings.NewReplacer(replaced...).Replace(text)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string // with DIR for the folder
	}{
		{"a document that fits", map[string]string{"good-rule.md": sections()}, nil},
		{"none", nil, []string{"DIR/rules.yaml:5:3 document rule \"Good Rule\" has no document: write DIR/ads/good-rule.md"}},
		{"one of no rule", map[string]string{"good-rule.md": sections(), "bad-rule.md": "# Bad Rule\n"}, []string{
			"DIR/ads/bad-rule.md:1:1 document no rule has this document's name"}},
		{"another title", map[string]string{"good-rule.md": sections("# Good Rule", "# Good Rules")}, []string{
			`DIR/ads/good-rule.md:1:1 document the title is "Good Rules": write "# Good Rule"`}},
		{"a section that is missing", map[string]string{"good-rule.md": sections("## Response\n", "")}, []string{"DIR/ads/good-rule.md:1:1 document the sections are Goal"}},
		{"a section that says nothing", map[string]string{"good-rule.md": sections("## Response\n\nLong enough to say something, as a sentence does.", "## Response\n\nRun.")}, []string{
			`DIR/ads/good-rule.md:39:1 document the section "Response" says less than a sentence`}},
		{"another priority", map[string]string{"good-rule.md": sections("NOTICE", "WARNING")}, []string{`DIR/ads/good-rule.md:29:1 document the section begins with "WARNING"...NOTICE`}},
		{"another technique", map[string]string{"good-rule.md": sections("T1074.001 (Data Staged: Local Data\n  Staging)", "T1560 (Archive Collected Data)")}, []string{
			"DIR/ads/good-rule.md:7:1 document the techniques are T1560: write those of the rule's tags, T1074.001"}},
		{"a technique of another name", map[string]string{"good-rule.md": sections("Data Staged: Local", "Local")}, []string{
			`DIR/ads/good-rule.md:7:1 document T1074.001 is named "Local Data Staging": write "Data Staged: Local Data Staging"`}},
		{"another tactic", map[string]string{"good-rule.md": sections("Collection (TA0009)", "Exfiltration (TA0010)")}, []string{"DIR/ads/good-rule.md:7:1 document the tactic collection is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(filepath.Join(dir, "ads"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(good), 0o600))
			for name, text := range tt.files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "ads", name), []byte(text), 0o600))
			}
			l, err := lint.New()
			require.NoError(t, err)
			files, err := ruleset.ReadFiles(dir)
			require.NoError(t, err)
			var want []string
			for _, w := range tt.want {
				want = append(want, strings.ReplaceAll(w, "DIR", dir))
			}
			assertFindings(t, want, l.Files(nil, files))
		})
	}
}

func TestEveryFindingHasACheckThatIsListed(t *testing.T) {
	names := map[string]bool{}
	for _, c := range lint.Checks() {
		assert.False(t, names[c.Name], "%s twice", c.Name)
		assert.NotEmpty(t, c.Looks)
		names[c.Name] = true
	}
	r := run(t, "", with("and enough", "and enough and staging.files > 10", "NOTICE", "INFO\n  foo: bar"))
	require.NotEmpty(t, r.Findings)
	for _, f := range r.Findings {
		assert.True(t, names[f.Check], f.Check)
	}
	r.Disable("bare-threshold")
	assert.Equal(t, []string{`a.yaml:10:3 unknown-key rule "Good Rule": key "foo" is unknown and ignored`}, lines(r))
}

func TestFalcoIsHeardWhereItDiffers(t *testing.T) {
	loads := func(file string) engine.Validation { return engine.Validation{File: file, Loads: true} }
	complains := func(code string) []engine.Complaint {
		return []engine.Complaint{{Code: code, Message: "said so", File: "a.yaml", Line: 2, Column: 3}}
	}
	refused := with("desc: d", "desc: d\n  desc: e")
	for _, tt := range []struct {
		name, text string
		said       []engine.Validation
		want       []string // beyond what is found without Falco
	}{
		{"both load it", good, []engine.Validation{loads("a.yaml")}, nil},
		{"Falco refuses it", good, []engine.Validation{{File: "a.yaml", Errors: complains("LOAD_ERR_COMPILE_CONDITION")}},
			[]string{"a.yaml:2:3 falco-refuses Falco 0.44.1 refuses this, and stagectl would load it: said so (LOAD_ERR_COMPILE_CONDITION)"}},
		{"both refuse it", refused, []engine.Validation{{File: "a.yaml", Errors: complains("LOAD_ERR_YAML_VALIDATE")}}, nil},
		{"only stagectl refuses it", refused, []engine.Validation{loads("a.yaml")}, []string{"a.yaml:7:3 falco-accepts Falco 0.44.1 loads this"}},
		{"Falco warns of something else", good, []engine.Validation{{File: "a.yaml", Loads: true, Warnings: complains("LOAD_NEW")}}, []string{"a.yaml:2:3 falco-warns ...said so (LOAD_NEW)"}},
		{"both warn", with("and enough", ""), []engine.Validation{{File: "a.yaml", Loads: true, Warnings: complains("LOAD_UNUSED_MACRO")}}, nil},
		{"Falco sees no use before the last file", good, []engine.Validation{{File: "a.yaml", Loads: true, Warnings: complains("LOAD_UNUSED_MACRO")}, loads("b.yaml")}, nil},
		{"Falco sees no use after the last file", good, []engine.Validation{loads("b.yaml"), {File: "a.yaml", Loads: true, Warnings: complains("LOAD_UNUSED_MACRO")}},
			[]string{"a.yaml:2:3 falco-warns"}},
		{"Falco's schema differs", good, []engine.Validation{{File: "a.yaml", Loads: true, Schema: []string{"failed for x"}}}, []string{"a.yaml:1:1 falco-warns ...failed for x"}},
		{"Falco speaks of what is not checked", good, []engine.Validation{{File: "z.yaml", Schema: []string{"x"},
			Errors: []engine.Complaint{{Code: "C", File: "z.yaml"}}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, "", tt.text)
			alone := lines(r)
			r.Compare("0.44.1", tt.said)
			r.Findings = slices.DeleteFunc(r.Findings, func(f lint.Finding) bool {
				return slices.Contains(alone, fmt.Sprintf("%s %s %s", f.Pos, f.Check, f.Msg))
			})
			assertFindings(t, tt.want, r)
		})
	}
}

// TestFalcoCountsEventTypesAlike asks a Falco, where there is one.
func TestFalcoCountsEventTypesAlike(t *testing.T) {
	path := os.Getenv("FALCO_BIN")
	if path == "" {
		t.Skip("no Falco in FALCO_BIN")
	}
	falco, err := engine.NewFalco(t.Context(), engine.FalcoOptions{Path: path, ContainerPlugin: "none"})
	require.NoError(t, err)
	l, err := lint.New()
	require.NoError(t, err)
	for name, condition := range map[string]string{
		"none is named": "proc.name = sh",
		"one is named":  "evt.type = close",
		"all but many":  "evt.type != close",
		// execve has 16 codes, clone and accept 8 each, fork and vfork 6, the others 2 or 4.
		"about a hundred": "evt.type in (execve, clone, accept, fork, vfork, brk, select, ioctl, mkdir, rmdir, openat, link, linkat, unlink, unlinkat, dup, umount)",
		"a hundred and some": "evt.type in (execve, clone, accept, fork, vfork, brk, select, ioctl, mkdir, rmdir, openat, link, linkat, unlink, unlinkat, dup, umount, " +
			"close, read, write, socket, bind, connect, listen, send)",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "rules.yaml")
			require.NoError(t, os.WriteFile(file, []byte("- rule: R\n  desc: d\n  condition: "+condition+"\n  output: o\n  priority: INFO\n"), 0o600))
			said, err := falco.Validate(t.Context(), "", []string{file})
			require.NoError(t, err)
			files, err := ruleset.ReadFiles(file)
			require.NoError(t, err)
			r := l.Files(nil, files)
			warned := slices.ContainsFunc(said[0].Warnings, func(c engine.Complaint) bool { return c.Code == "LOAD_NO_EVTTYPE" })
			found := slices.ContainsFunc(r.Findings, func(f lint.Finding) bool { return f.Check == lint.EventTypes })
			assert.Equal(t, warned, found)
		})
	}
}
