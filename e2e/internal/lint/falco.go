package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/falco-datastaging/datastaging/e2e/internal/auditlog"
	"github.com/falco-datastaging/datastaging/e2e/internal/engine"
	"github.com/falco-datastaging/datastaging/e2e/internal/ruleset"
)

// refusing are the checks whose findings Falco takes for errors, too.
var refusing = []string{LoadError, UnknownField, FieldArgument, FieldOperator, FieldValue, UnknownEventType}

// checkOfFalco is the check here that looks for what a code of Falco says.
var checkOfFalco = map[string]string{
	"LOAD_UNKNOWN_KEY": UnknownKey, "LOAD_UNKNOWN_ITEM": UnknownKey, "LOAD_DEPRECATED_ITEM": Deprecated,
	"LOAD_UNUSED_MACRO": Unused, "LOAD_UNUSED_LIST": Unused, "LOAD_NO_EVTTYPE": EventTypes, "LOAD_UNSAFE_NA_CHECK": UnsafeNA,
	"LOAD_INVALID_MACRO_NAME": InvalidName, "LOAD_INVALID_LIST_NAME": InvalidName,
	"LOAD_EXCEPTION_NAME_NOT_UNIQUE": Exception, "LOAD_APPEND_NO_VALUES": Exception,
}

// Compare adds where a Falco of some version and this package differ about the files.
func (r *Report) Compare(version string, validations []engine.Validation) {
	add := func(file string, line, column int, check, format string, args ...any) {
		r.Findings = append(r.Findings, Finding{ruleset.Position{File: file, Line: line, Column: column}, check, fmt.Sprintf(format, args...)})
	}
	ours := slices.Clone(r.Findings)
	has := func(file string, checks ...string) bool {
		return slices.ContainsFunc(ours, func(f Finding) bool { return f.Pos.File == file && slices.Contains(checks, f.Check) })
	}
	checked := func(file string) bool { return slices.Contains(r.Files, file) } // the others are only loaded before
	for i, v := range validations {
		for _, e := range v.Errors {
			if checked(e.File) && !has(e.File, refusing...) {
				add(e.File, e.Line, e.Column, FalcoRefuses, "Falco %s refuses this, and stagectl would load it: %s (%s)", version, e.Message, e.Code)
			}
		}
		for _, w := range v.Warnings {
			check := checkOfFalco[w.Code]
			// What a file has no use for, a later one may have.
			known := has(w.File, LoadError) || check != "" && has(w.File, check)
			// That this Falco has no plugin for audit events is not the rules' fault.
			known = known || w.Code == "LOAD_UNKNOWN_SOURCE" && strings.Contains(w.Message, " "+auditlog.Source+",")
			if checked(w.File) && !known && (check != Unused || i == len(validations)-1) {
				add(w.File, w.Line, w.Column, FalcoWarns, "Falco %s warns: %s (%s)", version, w.Message, w.Code)
			}
		}
		if !checked(v.File) {
			continue
		}
		if len(v.Schema) > 0 && !has(v.File, UnknownKey, LoadError) {
			add(v.File, 1, 1, FalcoWarns, "Falco %s: the file departs from the schema of rules files: %s", version, v.Schema[0])
		}
		if v.Loads {
			for _, f := range ours {
				if f.Pos.File == v.File && f.Check == LoadError {
					add(v.File, f.Pos.Line, f.Pos.Column, FalcoAccepts, "Falco %s loads this, and stagectl refuses it: %s", version, f.Msg)
				}
			}
		}
	}
	r.sort()
}
