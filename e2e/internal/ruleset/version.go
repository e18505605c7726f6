package ruleset

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Version is major.minor.patch.
type Version [3]uint32

// Falco reads the three numbers and ignores what follows, like "-rc1".
var versionPattern = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.([0-9]+)`)

// ParseVersion reads "0.57.0".
func ParseVersion(text string) (Version, error) {
	var v Version
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return v, fmt.Errorf("%q is no version: write major.minor.patch, like 0.57.0", text)
	}
	for i, digits := range m[1:] {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil {
			return v, fmt.Errorf("%q is no version: %s is too large", text, digits)
		}
		v[i] = uint32(n)
	}
	return v, nil
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// Satisfies reports whether what has version v serves what requires version required: the same major, and no older.
func (v Version) Satisfies(required Version) bool {
	return v[0] == required[0] && slices.Compare(v[:], required[:]) >= 0
}

type engineRequirement struct {
	version Version
	pos     Position
}

// PluginRequirement is one entry of required_plugin_versions: any of the alternatives will do.
type PluginRequirement struct {
	Alternatives []PluginVersion
	Pos          Position
}

// PluginVersion is a plugin and the version that is required of it.
type PluginVersion struct {
	Name    string
	Version Version
}

// CheckEngine returns an error for each file that an engine of this version does not satisfy.
func (s *Set) CheckEngine(engine Version) error {
	var errs []error
	for _, r := range s.engine {
		if !engine.Satisfies(r.version) {
			errs = append(errs, &Error{r.pos, fmt.Sprintf(
				"the rules require engine version %s, this engine has %s: use a Falco with the required one", r.version, engine)})
		}
	}
	return errors.Join(errs...)
}

// RequiredPlugins returns the required_plugin_versions of the files. All of them must be met.
func (s *Set) RequiredPlugins() []PluginRequirement { return slices.Clone(s.plugins) }

// CheckPlugins returns an error for each requirement that the loaded plugins, versions by name, do not satisfy.
func (s *Set) CheckPlugins(loaded map[string]Version) error {
	var errs []error
	for _, r := range s.plugins {
		if problem := r.check(loaded); problem != "" {
			errs = append(errs, &Error{r.Pos, problem})
		}
	}
	return errors.Join(errs...)
}

// check looks at the first alternative that is loaded, as Falco does, and at no further one.
func (r PluginRequirement) check(loaded map[string]Version) (problem string) {
	wanted := make([]string, len(r.Alternatives))
	for i, a := range r.Alternatives {
		version, ok := loaded[a.Name]
		switch {
		case ok && version.Satisfies(a.Version):
			return ""
		case ok:
			return fmt.Sprintf("plugin %s is loaded in version %s, the rules require %s: load that one", a.Name, version, a.Version)
		}
		wanted[i] = fmt.Sprintf("%s (>= %s)", a.Name, a.Version)
	}
	have := "none is"
	if len(loaded) > 0 {
		have = strings.Join(slices.Sorted(maps.Keys(loaded)), ", ")
	}
	return fmt.Sprintf("the rules require plugin %s: load it (loaded: %s)", strings.Join(wanted, " or "), have)
}
