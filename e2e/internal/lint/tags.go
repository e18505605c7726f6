package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/attack"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// maturities are those that falcosecurity/rules tells apart.
var maturities = []string{"maturity_stable", "maturity_incubating", "maturity_sandbox", "maturity_deprecated"}

const tacticPrefix = "mitre_"

// likeTechnique is what is meant to be a technique's id.
var likeTechnique = regexp.MustCompile(`^[Tt]\d+(\.\d*)?$`)

func (r *run) checkTags(rule ruleset.Rule) {
	if len(rule.TagsInOrder) == 0 {
		r.find(rule.Pos, Maturity, "rule %q has no tags: write its maturity, where it looks, its tactics and its techniques, such as [maturity_sandbox, container, "+
			"mitre_collection, T1074.001]", rule.Name)
		return
	}
	if first := rule.TagsInOrder[0]; !slices.Contains(maturities, first.Name) {
		r.find(first.Pos, Maturity, "the first tag of rule %q is %s: write its maturity there, one of %s", rule.Name, first.Name, strings.Join(maturities, ", "))
	}
	var techniques []attack.Technique
	var tactics []string
	for _, tag := range rule.TagsInOrder {
		if tactic, ok := strings.CutPrefix(tag.Name, tacticPrefix); ok {
			if tactics = append(tactics, tactic); !r.techniques.HasTactic(tactic) {
				r.find(tag.Pos, Attack, "ATT&CK %s has no tactic %s: write one in the spelling of mitre_lateral_movement", attack.Version, tactic)
			}
		}
		if !likeTechnique.MatchString(tag.Name) {
			continue
		}
		t, ok := r.techniques[tag.Name]
		if !ok {
			r.find(tag.Pos, Attack, "ATT&CK %s has no technique %s: write the id of one that it has, such as T1074 or T1074.002", attack.Version, tag.Name)
			continue
		}
		techniques = append(techniques, t)
	}
	for _, tag := range rule.TagsInOrder {
		t, ok := r.techniques[tag.Name]
		if ok && !slices.ContainsFunc(t.Tactics, func(tactic string) bool { return slices.Contains(tactics, tactic) }) {
			r.find(tag.Pos, Attack, "%s (%s) serves %s, which no tag of rule %q says: add %s%s", t.ID, t.Name, strings.Join(t.Tactics, ", "), rule.Name,
				tacticPrefix, strings.Join(t.Tactics, " or "+tacticPrefix))
		}
	}
	if len(techniques) == 0 {
		r.find(rule.TagsInOrder[0].Pos, Attack, "rule %q names no technique of ATT&CK: add its id, such as T1074.002", rule.Name)
	}
}
