package ruleset

import "fmt"

// Position is a place in a rules file. Line and Column, in characters, start at 1.
type Position struct {
	File   string
	Line   int
	Column int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Error is something in a rules file that Falco does not load.
type Error struct {
	Pos Position
	Msg string // what is wrong and what to write instead
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Code is Falco's name for a kind of warning.
type Code string

const (
	UnknownKey         Code = "LOAD_UNKNOWN_KEY"
	UnknownItem        Code = "LOAD_UNKNOWN_ITEM"
	DeprecatedItem     Code = "LOAD_DEPRECATED_ITEM"
	UnusedMacro        Code = "LOAD_UNUSED_MACRO"
	UnusedList         Code = "LOAD_UNUSED_LIST"
	NoEventType        Code = "LOAD_NO_EVTTYPE"
	UnsafeNACheck      Code = "LOAD_UNSAFE_NA_CHECK"
	InvalidMacroName   Code = "LOAD_INVALID_MACRO_NAME"
	InvalidListName    Code = "LOAD_INVALID_LIST_NAME"
	ExceptionNotUnique Code = "LOAD_EXCEPTION_NAME_NOT_UNIQUE"
	AppendNoValues     Code = "LOAD_APPEND_NO_VALUES"
	// NewerEngine is not Falco's: the condition needs a later Falco than the oldest supported one.
	NewerEngine Code = "NEWER_ENGINE"
	// NestedList is not Falco's: Falco leaves the name of a list as plain text here.
	NestedList Code = "NESTED_LIST"
	// SkippedRule is not Falco's: the rule is left out because of an error in what it refers to.
	SkippedRule Code = "SKIPPED_RULE"
)

// Warning is something in a rules file that loads but is likely a mistake.
type Warning struct {
	Pos  Position
	Code Code
	Msg  string
}

func (w Warning) String() string { return fmt.Sprintf("%s: %s (%s)", w.Pos, w.Msg, w.Code) }
