package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/e2e/internal/ads"
	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

const adsDir = "../rules/ads"

func readADS(t *testing.T, rule string) ads.Document {
	doc, err := ads.Read(adsDir, rule)
	require.NoError(t, err)
	return doc
}

// TestDocumentsSayWhatTheRuleDoes holds what a document claims of its rule against the rule.
func TestDocumentsSayWhatTheRuleDoes(t *testing.T) {
	vocabulary := readVocabulary(t)
	for _, r := range shippedRules(t) {
		t.Run(r.Name, func(t *testing.T) {
			doc := readADS(t, r.Name)

			// Every macro that the condition names is explained, and none that it has nothing to do with.
			strategy := doc.Section("Strategy Abstract")
			reached := vocabulary.reach(r.Condition)
			for _, macro := range vocabulary.named(r.Condition) {
				assert.Contains(t, strategy, "`"+macro+"`", "the condition names it")
			}
			for _, name := range vocabulary.named(strategy) {
				assert.Contains(t, reached, name, "the strategy names what the rule does not use")
			}
			assert.Equal(t, megabytesOf(r.Filter), megabytesIn(strategy), "thresholds, in MiB")
			for _, n := range countsOf(r.Filter) {
				assert.Regexp(t, `\b`+strconv.Itoa(n)+`\b`, strategy, "the condition has the threshold")
			}
			for _, action := range actionsOf(r.Filter) {
				assert.Contains(t, strategy, "`"+action+"`", "the condition asks for the action")
			}

			// Every field of the alert is explained under the name that the output gives it.
			for _, m := range regexp.MustCompile(`(\w+)=%`).FindAllStringSubmatch(r.Output, -1) {
				assert.Contains(t, doc.Section("Technical Context"), "`"+m[1]+"`", "the output has it")
			}
		})
	}
}

// megabytesOf returns the byte thresholds of a filter, ascending, each once.
func megabytesOf(filter string) (out []int) {
	for _, m := range regexp.MustCompile(`bytes(?:\[\w+\])? >= (\d+)`).FindAllStringSubmatch(filter, -1) {
		n, _ := strconv.Atoi(m[1])
		out = append(out, n>>20)
	}
	return distinct(out)
}

func megabytesIn(text string) (out []int) {
	for _, m := range regexp.MustCompile(`(\d+) MiB`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		out = append(out, n)
	}
	return distinct(out)
}

// countsOf returns the thresholds of a filter that are no bytes: numbers of files and peers, and deviations.
func countsOf(filter string) (out []int) {
	for _, m := range regexp.MustCompile(`(?:sources|files|peers|deviation)(?:\[\w+\])? >= (\d+)`).FindAllStringSubmatch(filter, -1) {
		n, _ := strconv.Atoi(m[1])
		out = append(out, n)
	}
	return distinct(out)
}

// actionsOf returns the actions of audit events that a filter asks for.
func actionsOf(filter string) (out []string) {
	for _, m := range regexp.MustCompile(`audit\.action (?:= ([\w-]+)|in \(([^)]*)\))`).FindAllStringSubmatch(filter, -1) {
		out = append(out, strings.FieldsFunc(m[1]+m[2], func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return out
}

func distinct(numbers []int) []int {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func TestDocumentsNameCasesThatShowIt(t *testing.T) {
	all := readCases(t)
	for _, r := range shippedRules(t) {
		t.Run(r.Name, func(t *testing.T) {
			validation := readADS(t, r.Name).Section("Validation")
			_, rest, _ := strings.Cut(validation, "Must fire:")
			firing, rest, _ := strings.Cut(rest, "Must stay silent:")
			silent, command, _ := strings.Cut(rest, "```sh")
			fire, stay := caseNames(firing), caseNames(silent)
			assert.NotEmpty(t, fire, "Must fire:")
			assert.NotEmpty(t, stay, "Must stay silent:")
			for _, name := range fire {
				if c, ok := all[name]; assert.True(t, ok, "no case %s", name) {
					assert.True(t, expects(c, r.Name), "%s does not expect it", name)
				}
			}
			for _, name := range stay {
				if c, ok := all[name]; assert.True(t, ok, "no case %s", name) {
					assert.False(t, expects(c, r.Name), "%s expects it", name)
				}
			}
			command, _, _ = strings.Cut(strings.ReplaceAll(command, "\\\n", ""), "```")
			assert.Equal(t, append([]string{"bin/stagectl", "test"}, append(fire, stay...)...), strings.Fields(command))
		})
	}
}

// caseNames returns the first backticked name of each list item.
func caseNames(list string) (names []string) {
	for _, m := range regexp.MustCompile("(?m)^- `([^`]+)`").FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	return names
}

func readCases(t *testing.T) map[string]cases.Case {
	found, err := cases.Find("cases")
	require.NoError(t, err)
	all := map[string]cases.Case{}
	for _, c := range found {
		all[c.Name] = c
	}
	return all
}

func expects(c cases.Case, rule string) bool {
	return slices.ContainsFunc(c.Expect, func(e cases.Expectation) bool { return e.Rule == rule && e.Count.Max > 0 })
}

// TestDocumentsNameOnlyWhatExists looks up every name in backticks that could be one of ours.
func TestDocumentsNameOnlyWhatExists(t *testing.T) {
	rules := shippedRules(t)
	vocabulary := readVocabulary(t)
	all := readCases(t)
	word := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	dotted := regexp.MustCompile(`^(staging|baseline|posture|audit)\.`)
	title := regexp.MustCompile(`^(?:io_uring|[A-Z][\w-]+)(?: [A-Za-z]\w*)* [A-Z]\w+$`) // as rules are called
	hyphens := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	for _, r := range rules {
		known := map[string]bool{}
		for _, m := range regexp.MustCompile(`(\w+)=%`).FindAllStringSubmatch(r.Output, -1) {
			known[m[1]] = true
		}
		for _, x := range r.Exceptions {
			known[x.Name] = true
		}
		t.Run(r.Name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(adsDir, ads.FileName(r.Name)))
			require.NoError(t, err)
			prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(text), "")
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(prose, -1) {
				name := strings.Join(strings.Fields(m[1]), " ")
				switch {
				case title.MatchString(name):
					assert.True(t, slices.ContainsFunc(rules, func(r ruleset.Rule) bool { return r.Name == name }), "no rule %q", name)
				case hyphens.MatchString(name):
					_, ok := all[name]
					assert.True(t, ok || vocabulary.values[name], "no case or value %q", name)
				case dotted.MatchString(name):
					assert.True(t, vocabulary.isField(name) || vocabulary.settings[name], "no field or setting %q", name)
				case word.MatchString(name):
					assert.True(t, known[name] || vocabulary.isWord(name), "%q is no name of this rule, macro, list, setting or value", name)
				}
			}
		})
	}
}

func TestTuningInDocumentsLoadsAfterTheBundle(t *testing.T) {
	var bundle []ruleset.File
	for _, pattern := range []string{"../macros/*.yaml", "../rules/*.yaml"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			bundle = append(bundle, ruleset.File{Name: name, Data: data})
		}
	}
	plain, err := ruleset.Parse(bundle...)
	require.NoError(t, err)
	workloads := regexp.MustCompile(`\)? and not baseline\.workload in \([^()]+\)`)
	for _, r := range plain.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			snippets := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readADS(t, r.Name).Section("False Positives"), -1)
			require.NotEmpty(t, snippets, "how to tune it")
			for _, s := range snippets {
				set, err := ruleset.Parse(append(slices.Clone(bundle), ruleset.File{Name: ads.FileName(r.Name), Data: []byte(s[1])})...)
				require.NoError(t, err)
				assert.Empty(t, set.Warnings)
				for _, tuned := range set.Rules() {
					before, ok := plain.Rule(tuned.Name)
					require.True(t, ok)
					if tuned.Name == r.Name {
						assert.NotEqual(t, before.Filter, tuned.Filter, "it changes nothing")
						// What is asked after staging.once has spent the container's alert by then, which does no harm where whole
						// workloads are left out.
						_, after, _ := strings.Cut(tuned.Filter, "staging.once[")
						_, asked, _ := strings.Cut(before.Filter, "staging.once[")
						assert.Equal(t, asked, workloads.ReplaceAllString(after, ""), "it is asked too late")
					} else {
						assert.Equal(t, before.Filter, tuned.Filter, "it changes another rule")
					}
				}
			}
		})
	}
}

// TestExamplesTuneAsTheDocumentsDo holds examples/tuning against the documents: a file for each rule, with what its document writes.
// Each is replayed by a case.
func TestExamplesTuneAsTheDocumentsDo(t *testing.T) {
	const whole = "datastaging_tuning.yaml" // an example of a file as a whole, whose parts are its own
	have := map[string]bool{whole: true}
	for _, r := range shippedRules(t) {
		name := strings.TrimSuffix(ads.FileName(r.Name), ".md") + ".yaml"
		have[name] = true
		t.Run(r.Name, func(t *testing.T) {
			var snippets []string
			for _, s := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readADS(t, r.Name).Section("False Positives"), -1) {
				snippets = append(snippets, s[1])
			}
			example, err := os.ReadFile(filepath.Join("../examples/tuning", name))
			require.NoError(t, err)
			comment, rest, _ := strings.Cut(string(example), "\n")
			assert.Regexp(t, "^# .*[.]$", comment, "who is left out, and what is not")
			assert.Equal(t, strings.Join(snippets, "\n"), rest)
		})
	}
	replayed := map[string]bool{}
	for _, c := range readCases(t) {
		for _, rules := range c.Rules {
			replayed[filepath.Base(rules)] = true
		}
	}
	files, err := os.ReadDir("../examples/tuning")
	require.NoError(t, err)
	for _, f := range files {
		assert.True(t, have[f.Name()], "no rule is tuned by %s", f.Name())
		assert.True(t, replayed[f.Name()], "no case replays %s", f.Name())
	}
}

// TestDocumentsShareNoSentence keeps them specific: what fits two rules says little about either.
func TestDocumentsShareNoSentence(t *testing.T) {
	const short = 60 // lists of fields and the like
	first := map[string]string{}
	err := fs.WalkDir(os.DirFS(adsDir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(adsDir, name))
		if err != nil {
			return err
		}
		body := string(text)
		if at := strings.Index(body, "## Strategy Abstract"); at >= 0 {
			body = body[at:] // what comes before are the names of ATT&CK
		}
		for _, sentence := range sentences(body) {
			if len(sentence) > short {
				if other, ok := first[sentence]; ok && other != name {
					assert.Fail(t, fmt.Sprintf("%s and %s share %q", other, name, sentence))
				}
				first[sentence] = name
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.Greater(t, len(first), 100, "sentences were found")
}

// sentences splits a document without its code into sentences, list items and paragraphs on their own.
func sentences(text string) (out []string) {
	text = regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "\n\n")
	for _, block := range regexp.MustCompile(`\n\s*\n|\n(?:- |\d+\. |#)`).Split(text, -1) {
		for _, s := range regexp.MustCompile(`[.?!] `).Split(strings.Join(strings.Fields(block), " "), -1) {
			out = append(out, strings.TrimRight(s, ".?!"))
		}
	}
	return out
}

// vocabulary is what the bundle and the plugin give names to.
type vocabulary struct {
	definitions map[string]string // macros and lists, with their text
	fields      map[string]string // README's, with the argument that they take: [w], [key], [metric], [dimension] or none
	settings    map[string]bool
	values      map[string]bool // of fields that have few: locations, phases, actions
}

func readVocabulary(t *testing.T) vocabulary {
	v := vocabulary{definitions: map[string]string{}, fields: map[string]string{}, settings: map[string]bool{}, values: map[string]bool{}}
	files, err := filepath.Glob("../macros/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var entries []struct {
			Macro, Condition, List string
			Items                  []string
		}
		require.NoError(t, yaml.Unmarshal(data, &entries))
		for _, e := range entries {
			if name := e.Macro + e.List; name != "" {
				v.definitions[name] = e.Condition + strings.Join(e.Items, " ")
			}
		}
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^\\| `([a-z_.]+)(\\[\\w+\\])?` \\| \\w+ \\| (.*) \\|$")
	for _, m := range row.FindAllStringSubmatch(section(string(readme), "fields"), -1) {
		v.fields[m[1]] = m[2]
		// "...: none, tmp, shm, volume, hostpath, hidden, webroot, run or memfd"
		if _, list, ok := strings.Cut(m[3], ": "); ok {
			list, _, _ = strings.Cut(list, "; ")
			for _, value := range regexp.MustCompile(`[a-z]+(?:-[a-z]+)*`).FindAllString(list, -1) {
				v.values[value] = true
			}
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|").FindAllStringSubmatch(section(string(readme), "settings"), -1) {
		v.settings[m[1]] = true
	}
	require.NotEmpty(t, v.definitions)
	require.NotEmpty(t, v.fields)
	require.NotEmpty(t, v.settings)
	require.True(t, v.values["hidden"] && v.values["exfiltrate"] && v.values["memfd"] && v.values["read-secret"])
	return v
}

// section returns a generated part of the README.
func section(readme, name string) string {
	_, rest, _ := strings.Cut(readme, "<!-- "+name+":")
	body, _, _ := strings.Cut(rest, "<!-- end of "+name+" -->")
	return body
}

// named returns the macros and lists that a text names.
func (v vocabulary) named(text string) (names []string) {
	for _, word := range regexp.MustCompile(`[a-z_][a-z0-9_]*`).FindAllString(text, -1) {
		if _, ok := v.definitions[word]; ok && !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	return names
}

// reach returns the macros and lists that a condition is made of, through one another.
func (v vocabulary) reach(condition string) []string {
	reached := v.named(condition)
	for i := 0; i < len(reached); i++ {
		for _, name := range v.named(v.definitions[reached[i]]) {
			if !slices.Contains(reached, name) {
				reached = append(reached, name)
			}
		}
	}
	return reached
}

// isField reports whether a name, with or without an argument, is that of a field that takes it.
func (v vocabulary) isField(name string) bool {
	name, arg, hasArg := strings.Cut(strings.TrimSuffix(name, "]"), "[")
	takes, ok := v.fields[name]
	switch {
	case !ok:
		return false
	case !hasArg:
		return true // the field as such
	case takes == "[w]":
		return regexp.MustCompile(`^\d+[smh]$`).MatchString(arg)
	case takes == "[dimension]":
		_, err := baseline.DimensionByName(arg)
		return err == nil
	case takes == "[metric]":
		_, err := baseline.MetricByName(arg)
		return err == nil
	default:
		return takes == "[key]"
	}
}

// isWord reports whether a lone word is a name or a value.
func (v vocabulary) isWord(name string) bool {
	_, defined := v.definitions[name]
	_, err := baseline.MetricByName(name)
	return defined || v.settings[name] || v.values[name] || err == nil
}
