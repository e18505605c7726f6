package filter

import "slices"

// Walk calls visit for e and the expressions below it, parents first, in text order. Where visit returns false, what is below
// is left out.
func Walk(e Expr, visit func(Expr) bool) {
	if !visit(e) {
		return
	}
	switch e := e.(type) {
	case *And:
		for _, t := range e.Terms {
			Walk(t, visit)
		}
	case *Or:
		for _, t := range e.Terms {
			Walk(t, visit)
		}
	case *Not:
		Walk(e.Term, visit)
	}
}

// Copy returns a node that is like e and shares what is below it.
func Copy(e Expr) Expr {
	switch e := e.(type) {
	case *And:
		c := *e
		return &c
	case *Or:
		c := *e
		return &c
	case *Not:
		c := *e
		return &c
	case *Macro:
		c := *e
		return &c
	case *Check:
		c := *e
		return &c
	}
	return e
}

// Checks returns the checks of a condition in text order.
func Checks(e Expr) []*Check {
	var checks []*Check
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok {
			checks = append(checks, c)
		}
		return true
	})
	return checks
}

// Fields returns the fields that a condition names, on either side of its checks, in text order and each once by name and
// argument.
func Fields(e Expr) []*Field {
	var fields []*Field
	for _, c := range Checks(e) {
		fields = AppendFields(fields, c.Left)
		fields = AppendFields(fields, c.Right)
	}
	return fields
}

// AppendFields appends the fields that an operand names and that are not among fields yet.
func AppendFields(fields []*Field, o Operand) []*Field {
	switch o := o.(type) {
	case *Field:
		same := func(f *Field) bool { return f.Name == o.Name && f.Arg == o.Arg && f.HasArg == o.HasArg }
		if !slices.ContainsFunc(fields, same) {
			fields = append(fields, o)
		}
	case *Transform:
		for _, arg := range o.Args {
			fields = AppendFields(fields, arg)
		}
	case *Tuple:
		for _, item := range o.Items {
			fields = AppendFields(fields, item)
		}
	}
	return fields
}

// ReplaceMacros returns e with each macro replaced by what expand returns for it, which stands as one term. Nodes above a
// macro are copied, all others are shared with e.
func ReplaceMacros(e Expr, expand func(*Macro) (Expr, error)) (Expr, error) {
	switch e := e.(type) {
	case *Macro:
		return expand(e)
	case *Not:
		term, err := ReplaceMacros(e.Term, expand)
		if err != nil || term == e.Term {
			return e, err
		}
		return &Not{term, e.At}, nil
	case *And:
		terms, changed, err := replaceTerms(e.Terms, expand)
		if err != nil || !changed {
			return e, err
		}
		return &And{terms, e.At}, nil
	case *Or:
		terms, changed, err := replaceTerms(e.Terms, expand)
		if err != nil || !changed {
			return e, err
		}
		return &Or{terms, e.At}, nil
	}
	return e, nil
}

func replaceTerms(terms []Expr, expand func(*Macro) (Expr, error)) (out []Expr, changed bool, err error) {
	out = make([]Expr, len(terms))
	for i, t := range terms {
		if out[i], err = ReplaceMacros(t, expand); err != nil {
			return nil, false, err
		}
		changed = changed || out[i] != t
	}
	return out, changed, nil
}

// IsNewer reports whether the transformer, or one inside it, takes libs 0.24: join, concat, getopt, and any but a field as
// argument.
func (o *Transform) IsNewer() bool {
	if o.HasArg || len(o.Args) != 1 || slices.Contains([]string{"join", "concat", "getopt"}, o.Name) {
		return true
	}
	switch arg := o.Args[0].(type) {
	case *Field:
		return false
	case *Transform:
		return arg.IsNewer()
	}
	return true
}
