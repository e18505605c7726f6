package lint

// Names of the checks.
const (
	LoadError        = "load-error"
	UnknownKey       = "unknown-key"
	Deprecated       = "deprecated"
	Unused           = "unused"
	InvalidName      = "invalid-name"
	UnsafeNA         = "unsafe-na"
	NestedList       = "nested-list"
	NewerEngine      = "newer-engine"
	Redefined        = "redefined"
	OverrideNothing  = "override-nothing"
	UnknownField     = "unknown-field"
	FieldArgument    = "field-argument"
	FieldValue       = "field-value"
	FieldOperator    = "field-operator"
	UnknownEventType = "unknown-event-type"
	EventTypes       = "event-types"
	BareThreshold    = "bare-threshold"
	PluginFirst      = "plugin-first"
	Once             = "once"
	OnceKey          = "once-key"
	Host             = "host"
	Exception        = "exception"
	OutputArgument   = "output-argument"
	OutputConflict   = "output-conflict"
	OutputLength     = "output-length"
	Maturity         = "maturity"
	Attack           = "attack"
	Document         = "document"
	FalcoRefuses     = "falco-refuses"
	FalcoAccepts     = "falco-accepts"
	FalcoWarns       = "falco-warns"
)

// Check is a check by name, with what it looks for.
type Check struct{ Name, Looks string }

// Checks returns all checks.
func Checks() []Check {
	return []Check{
		{LoadError, "what Falco does not load: bad conditions, unknown macros and lists, missing and doubled keys, unknown priorities"},
		{UnknownKey, "keys and entries that Falco ignores"},
		{Deprecated, "what Falco will not know for long"},
		{Unused, "macros and lists that nothing uses"},
		{InvalidName, "names of macros and lists that no condition can use"},
		{UnsafeNA, "comparisons with <NA>"},
		{NestedList, "names of lists that Falco leaves as text"},
		{NewerEngine, "what the oldest supported Falco does not know"},
		{Redefined, "entries that take the place of others without saying so"},
		{OverrideNothing, "overrides that replace nothing"},
		{UnknownField, "fields that neither Falco nor the plugin has"},
		{FieldArgument, "arguments that a field does not take: windows, metrics, dimensions"},
		{FieldValue, "values that a field never has"},
		{FieldOperator, "operators that cannot compare a field"},
		{UnknownEventType, "event types that there are not"},
		{EventTypes, "rules that match more than 100 event types, or none"},
		{BareThreshold, "thresholds that are not in a macro, where they could be tuned"},
		{PluginFirst, "fields of the plugin that are asked before cheaper ones"},
		{Once, "staging.once that is missing, not last, or there twice"},
		{OnceKey, "rules that share a key of staging.once"},
		{Host, "rules that do not say whether they are about containers or the host"},
		{Exception, "exceptions that are asked too late, are named twice or say nothing"},
		{OutputArgument, "output fields with brackets, which break outputs of Falcosidekick"},
		{OutputConflict, "output fields that cannot stand beside each other"},
		{OutputLength, "outputs that are too long for where they are sent"},
		{Maturity, "tags that do not begin with the rule's maturity"},
		{Attack, "tags of MITRE ATT&CK that do not exist or do not fit"},
		{Document, "rules without a document, and documents that say something else than their rule"},
		{FalcoRefuses, "what a Falco on this machine refuses and stagectl would load"},
		{FalcoAccepts, "what stagectl refuses and a Falco on this machine loads"},
		{FalcoWarns, "what a Falco on this machine warns of and stagectl does not"},
	}
}
