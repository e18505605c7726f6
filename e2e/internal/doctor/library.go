package doctor

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"
)

// required are the symbols without which a plugin does not load, or ours has no events and no fields.
var required = []string{
	"plugin_get_required_api_version", "plugin_get_name", "plugin_get_version", "plugin_get_description", "plugin_get_contact",
	"plugin_get_last_error", "plugin_init", "plugin_destroy", "plugin_get_init_schema",
	"plugin_get_fields", "plugin_extract_fields", "plugin_parse_event",
}

// library looks at the plugin's file.
func (e *exam) library(p plugin) {
	if missing(p.library) {
		e.say(Fail, checkLibrary, p.entry.Get("library_path").Pos, "%s is not there: Falco does not start", p.library).
			run("install -m 644 bin/libdatastaging.so " + p.library)
		return
	}
	file, err := os.Open(p.library)
	if err != nil {
		e.say(Fail, checkLibrary, p.entry.Get("library_path").Pos, "%v", err)
		return
	}
	defer file.Close()
	f, err := elf.NewFile(file)
	if err != nil {
		e.say(Fail, checkLibrary, p.entry.Get("library_path").Pos, "%s is no library: %v", p.library, err)
		return
	}
	if lacking := lackingSymbols(f); len(lacking) > 0 {
		e.say(Fail, checkLibrary, p.entry.Get("library_path").Pos, "%s is not the plugin, or not all of it: it lacks %s", p.library, strings.Join(lacking, ", "))
		return
	}
	if machine, ok := e.machine(); ok && machine != f.Machine {
		e.say(Fail, checkLibrary, p.entry.Get("library_path").Pos, "%s is built for %s and Falco for %s: build it on this machine", p.library, architecture(f.Machine), architecture(machine))
		return
	}
	e.say(OK, checkLibrary, p.entry.Get("library_path").Pos, "%s has what a plugin needs, for %s", p.library, architecture(f.Machine))
}

// lackingSymbols are those of a plugin that a library does not have.
func lackingSymbols(f *elf.File) (lacking []string) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return required
	}
	for _, name := range required {
		if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == name && s.Section != elf.SHN_UNDEF }) {
			lacking = append(lacking, name)
		}
	}
	return lacking
}

// machine is what Falco is built for. A script that starts Falco says nothing about that.
func (e *exam) machine() (elf.Machine, bool) {
	if e.opts.Falco == "" {
		return 0, false
	}
	program, err := os.Open(e.opts.Falco)
	if err != nil {
		return 0, false
	}
	defer program.Close()
	f, err := elf.NewFile(program)
	if err != nil {
		return 0, false
	}
	return f.Machine, true
}

func architecture(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return fmt.Sprint(m)
}
