package filter

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParsePrints(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // "" for the text itself
	}{
		{"a check is printed as it is written", "proc.name = sh", ""},
		{"blanks around an operator do not matter", "proc.name=sh", "proc.name = sh"},
		{"line breaks and tabs are blanks", "proc.name\n=\tsh\r\n", "proc.name = sh"},
		{"and binds tighter than or", "a.b = 1 or a.b = 2 and a.b = 3", ""},
		{"parentheses that change the order stay", "(a.b = 1 or a.b = 2) and a.b = 3", ""},
		{"parentheses that change nothing go", "((a.b = 1) and (a.b = 2))", "a.b = 1 and a.b = 2"},
		{"nested parentheses of one operator stay, to keep the tree", "a.b = 1 and (a.b = 2 and a.b = 3)", ""},
		{"keywords need no blank before a parenthesis", "not(a.b = 1)and(a.b = 2)or(a.b = 3)", "not a.b = 1 and a.b = 2 or a.b = 3"},
		{"two nots cancel out", "not not a.b = 1", "a.b = 1"},
		{"three nots are one", "not not not a.b = 1", "not a.b = 1"},
		{"a not in parentheses is kept", "not (not a.b = 1)", ""},
		{"a not covers a whole parenthesis", "not (a.b = 1 or a.b = 2)", ""},
		{"a word alone is a macro", "spawned_process and not container", ""},
		{"a macro may start like a keyword", "order and android or nothing", ""},
		{"exists has no right side", "proc.name exists and fd.name exists", ""},
		{"every comparison is known", "a.b == 1 and a.b != 1 and a.b < 1 and a.b <= 1 and a.b > 1 and a.b >= 1", ""},
		{"every text operator is known", "a.b contains x and a.b icontains x and a.b bcontains 00ff and a.b startswith x and " +
			"a.b bstartswith 00ff and a.b endswith x and a.b glob x* and a.b iglob x* and a.b regex x.*", ""},
		{"every list operator is known", "a.b in (x, y) and a.b intersects (x) and a.b pmatch (/a, /b)", ""},
		{"a list may touch its operator", "a.b in(x,y)", "a.b in (x, y)"},
		{"a list may be empty", "a.b in ()", ""},
		{"a list may be named without parentheses", "a.b in shells", ""},
		{"operators take a modifier before a list", "a.b startswith oneof (x, y) and a.b = anyof (x) and a.b glob allof list", ""},
		{"a modifier that no list follows is a value", "a.b = oneof and a.b contains allof or a.b = anyof", ""},
		{"a field has an argument", "proc.aname[2] = sh and evt.arg[flags] contains O_CREAT", ""},
		{"an argument may be quoted", `proc.env["A B"] = x`, ""},
		{"an argument that needs no quotes loses them", `proc.env["AB"] = x`, "proc.env[AB] = x"},
		{"a field has as many parts as dots", "fd.rip.name = example.com", ""},
		{"transformers nest", "tolower(basename(proc.exepath)) = sh and len(proc.args) > 100", ""},
		{"blanks inside a transformer do not matter", "tolower( proc.name ) = sh", "tolower(proc.name) = sh"},
		{"a field stands on the right inside val", "proc.name = val(proc.pname) and proc.name in (val)", ""},
		{"a transformer stands on the right", "proc.name = toupper(proc.pname) and evt.num > len(fd.name) and a.b in tolower(c.d)", ""},
		{"join and concat take texts, numbers and tuples", `join(",", (proc.name, "x", 1)) = y and concat(proc.name, 'z') = y`,
			`join(",", (proc.name, "x", 1)) = y and concat(proc.name, "z") = y`},
		{"getopt has an argument", `getopt(proc.args)[v] exists`, ""},
		{"a field without transformer is text on the right", "proc.name = proc.pname", ""},
		{"numbers keep their spelling", "a.b > 0x1F and a.b < -1.5e+3 and a.b >= 010", ""},
		{"a bare value holds most characters", "fd.name = /a-b_c.d:e*[f]{g}|h%i$j\\k#l!m<n>o;p", ""},
		{"a quoted value stays quoted", `proc.name = "sh"`, ""},
		{"single quotes become double ones", `proc.name = 'sh'`, `proc.name = "sh"`},
		{"an empty value is quoted", `proc.name = ""`, ""},
		{"escapes are resolved and written again", `a.b = "x\"y\\z\t\n\r\f\b\/"`, `a.b = "x\"y\\z\t\n\r\f\b/"`},
		{"a blank line break in quotes becomes an escape", "a.b = \"x\ny\"", `a.b = "x\ny"`},
		{"the other quote needs no escape", `a.b = 'say "hi"' or a.b = "it's"`, `a.b = "say \"hi\"" or a.b = "it's"`},
		{"a backslash before a blank is a backslash", `a.b = "C:\ dir"`, `a.b = "C:\\dir"`},
		{"a text may end in a backslash", `a.b = "C:\ "`, ""},
		{"hexadecimal escapes are resolved", `a.b = "\x41\x00\xff"`, `a.b = "A\x00\xff"`},
		{"quotes in a list are kept", `a.b in (x, "y z", 'it')`, `a.b in (x, "y z", "it")`},
		{"text beyond ASCII may be bare", "proc.name = größe", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(tt.text)
			require.NoError(t, err)
			want := tt.want
			if want == "" {
				want = tt.text
			}
			assert.Equal(t, want, e.String())
			again, err := Parse(e.String())
			require.NoError(t, err)
			assert.Equal(t, shape(e), shape(again))
		})
	}
}

func TestParseRejects(t *testing.T) {
	tests := []struct {
		name   string
		text   string
		offset int
		msg    string
	}{
		{"an empty condition", " \n", 2, "empty"},
		{"a condition that ends in a keyword", "a.b = 1 and", 8, "a check after it"},
		{"a condition that starts with a keyword", "and a.b = 1", 0, `before "and"`},
		{"two checks without a keyword", "a.b = 1 c.d = 2", 8, `write "and" or "or" before it`},
		{"a value with a blank", "a.b = x y", 8, "quote a value with blanks"},
		{"a keyword of another language", "a.b = 1 && c.d = 2", 8, `write "and"`},
		{"the other keyword of another language", "a.b = 1 || c.d = 2", 8, `write "or"`},
		{"a keyword in upper case", "a.b = 1 AND c.d = 2", 8, `write "and"`},
		{"an unclosed parenthesis", "x and (a.b = 1 or c", 6, "never closed"},
		{"a parenthesis too many", "a.b = 1)", 7, "closes nothing"},
		{"an unclosed list", "a.b in (x, y", 7, "never closed"},
		{"a list with a comma at its end", "a.b in (x, )", 11, "expected a value"},
		{"a list without commas", "a.b in (x y)", 10, "special characters"},
		{"a list operator without a list", "a.b in ", 7, "write (a, b)"},
		{"a field without an operator", "proc.name", 9, "expected an operator"},
		{"an unknown operator", "proc.name like x", 10, "expected an operator"},
		{"an operator that runs into the value", "proc.name startswith(x)", 20, "expected a blank"},
		{"an operator that is a prefix of a word", "proc.name inside", 10, "expected an operator"},
		{"no value", "proc.name = ", 12, "expected a value"},
		{"text where a number must be", "evt.num > x", 10, "expected a number"},
		{"an unclosed string", `a.b = "x`, 6, "never closed"},
		{"a string whose end is escaped", `a.b = "x\\"`, 6, "never closed"},
		{"an unknown escape", `a.b = "x\d"`, 8, `write \\d`},
		{"an escape of the other quote", `a.b = "x\'"`, 8, "no escape"},
		{"half a hexadecimal escape", `a.b = "\x4"`, 7, "two hexadecimal digits"},
		{"a hexadecimal escape of other letters", `a.b = "\xzz"`, 7, "two hexadecimal digits"},
		{"an empty argument", "a.b[] = 1", 4, "expected a field argument"},
		{"an unclosed argument", "a.b[x", 3, "never closed"},
		{"an argument with a blank", "a.b[x y] = 1", 5, "quote an argument"},
		{"an unknown transformer", "trim(a.b) = 1", 4, "unexpected"},
		{"a transformer without a field", "tolower(x) = 1", 8, "expected a field"},
		{"an unclosed transformer", "tolower(a.b = 1", 12, `expected ")"`},
		{"val on the left", "val(a.b) = 1", 3, "unexpected"},
		{"val of a transformer", "a.b = val(tolower(c.d))", 10, "without val"},
		{"val of a text", `a.b = val("x")`, 10, "expected a field"},
		{"an unclosed tuple", `join(",", (a.b, c.d) = 1`, 21, `expected ")"`},
		{"a NUL byte", "a.b = \x00", 6, "NUL"},
		{"bytes that are no text", "a.b = \xff", 6, "UTF-8"},
		{"nesting without end", strings.Repeat("(", 1000) + "x" + strings.Repeat(")", 1000), 201, "nests deeper"},
		{"transformers without end", strings.Repeat("tolower(", 1000) + "a.b" + strings.Repeat(")", 1000), 1608, "nests deeper"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			assert.Equal(t, tt.offset, syntax.Offset, err)
			assert.Contains(t, syntax.Msg, tt.msg)
		})
	}
}

func TestOffsetsPointAtTheText(t *testing.T) {
	text := "  m1 or (not a.b[x] = 1 and tolower(c.d) in (y, z))"
	e, err := Parse(text)
	require.NoError(t, err)
	or := e.(*Or)
	and := or.Terms[1].(*And)
	check := and.Terms[1].(*Check)
	for want, node := range map[string]interface{ Offset() int }{
		"m1 or": or, "m1": or.Terms[0], "not a.b": and.Terms[0], "a.b[x] = 1": and.Terms[0].(*Not).Term,
		"tolower(c.d) in": check, "tolower(c.d)": check.Left, "c.d": check.Left.(*Transform).Args[0],
		"(y, z)": check.Right, "z": check.Right.(*List).Items[1],
	} {
		assert.Equal(t, want, text[node.Offset():][:len(want)])
	}
}

func TestParseItems(t *testing.T) {
	items, err := ParseItems(` a, "b c",'d' `)
	require.NoError(t, err)
	assert.Equal(t, []*Value{{Text: "a", At: 1}, {Text: "b c", Quoted: true, At: 4}, {Text: "d", Quoted: true, At: 10}}, items)

	items, err = ParseItems("")
	require.NoError(t, err)
	assert.Empty(t, items)

	for _, text := range []string{"a b", "a,", "a=b", "(a)", "a)"} {
		_, err := ParseItems(text)
		assert.Error(t, err, text)
	}
}

func TestFieldsAreNamedOnce(t *testing.T) {
	e, err := Parse("a.b = 1 and (tolower(c.d[2]) = val(e.f) or not a.b exists) and c.d[3] in (a.b) and c.d[2] = g.h and join(x.y, (z.z)) = 1")
	require.NoError(t, err)
	var names []string
	for _, f := range Fields(e) {
		names = append(names, f.String())
	}
	assert.Equal(t, []string{"a.b", "c.d[2]", "e.f", "c.d[3]", "x.y", "z.z"}, names)
}

func TestReplaceMacrosKeepsTheOriginal(t *testing.T) {
	e, err := Parse("m and not m or a.b = 1")
	require.NoError(t, err)
	body, err := Parse("c.d = 1 or c.d = 2")
	require.NoError(t, err)
	out, err := ReplaceMacros(e, func(*Macro) (Expr, error) { return body, nil })
	require.NoError(t, err)
	assert.Equal(t, "(c.d = 1 or c.d = 2) and not (c.d = 1 or c.d = 2) or a.b = 1", out.String())
	assert.Equal(t, "m and not m or a.b = 1", e.String())
}

func TestWalkLeavesOutWhatIsNotWanted(t *testing.T) {
	e, err := Parse("x and not (y or z)")
	require.NoError(t, err)
	var seen []string
	Walk(e, func(e Expr) bool {
		seen = append(seen, e.String())
		_, isNot := e.(*Not)
		return !isNot
	})
	assert.Equal(t, []string{"x and not (y or z)", "x", "not (y or z)"}, seen)
}

func TestOperatorTables(t *testing.T) {
	for _, op := range []string{"=", "exists", "in", "startswith", "startswith oneof", "!= allof"} {
		assert.True(t, IsOperator(op), op)
	}
	for _, op := range []string{"", "like", "oneof", "in oneof", ">= oneof", "exists anyof", "startswith some", "a b c"} {
		assert.False(t, IsOperator(op), op)
	}
	assert.True(t, IsListOperator("pmatch"))
	assert.True(t, IsListOperator("= oneof"))
	assert.False(t, IsListOperator("="))
	assert.False(t, IsListOperator("in oneof"))
}

func TestPrintedTreesParseToThemselves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		e := randomExpr(r, 4)
		again, err := Parse(e.String())
		require.NoError(t, err, e)
		require.Equal(t, shape(e), shape(again), e)
	}
}

// FuzzParse: no text makes the parser panic, and what it accepts prints to a text with the same tree.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"proc.name = sh", "not (a.b in (x, \"y z\") or m) and evt.num >= 0x10", `proc.env["A B"] contains '\'x'`,
		`join(",", (proc.name, "x", 1)) = y or getopt(proc.args)[v] exists`, "a.b startswith oneof (x, y)",
		`a.b = "C:\ "`, "not not(a.b=1)or(b.c=2)and not c", "a.b = val(c.d)", "((((", `"\x4`, "a.b glob \"\xff\"",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.GreaterOrEqual(t, syntax.Offset, 0)
			require.LessOrEqual(t, syntax.Offset, len(text))
			return
		}
		again, err := Parse(e.String())
		require.NoError(t, err, e)
		require.Equal(t, shape(e), shape(again))
		_, _ = TypesOf(e)
		_ = Fields(e)
	})
}

// shape is a tree without the places in the text.
func shape(e Expr) Expr {
	switch e := e.(type) {
	case *And:
		return &And{Terms: shapes(e.Terms)}
	case *Or:
		return &Or{Terms: shapes(e.Terms)}
	case *Not:
		return &Not{Term: shape(e.Term)}
	case *Macro:
		return &Macro{Name: e.Name}
	case *Check:
		return &Check{Left: operandShape(e.Left), Op: e.Op, Right: operandShape(e.Right)}
	}
	return nil
}

func shapes(terms []Expr) []Expr {
	out := make([]Expr, len(terms))
	for i, t := range terms {
		out[i] = shape(t)
	}
	return out
}

func operandShape(o Operand) Operand {
	switch o := o.(type) {
	case *Field:
		return &Field{Name: o.Name, Arg: o.Arg, HasArg: o.HasArg}
	case *Value:
		// A bare value that needs quotes gets them.
		return &Value{Text: o.Text, Quoted: o.Quoted || !isBare(o.Text)}
	case *List:
		out := &List{}
		for _, v := range o.Items {
			out.Items = append(out.Items, operandShape(v).(*Value))
		}
		return out
	case *Tuple:
		out := &Tuple{}
		for _, item := range o.Items {
			out.Items = append(out.Items, operandShape(item))
		}
		return out
	case *Transform:
		out := &Transform{Name: o.Name, Arg: o.Arg, HasArg: o.HasArg}
		for _, arg := range o.Args {
			out.Args = append(out.Args, operandShape(arg))
		}
		return out
	}
	return nil
}

func randomExpr(r *rand.Rand, depth int) Expr {
	n := r.IntN(8)
	if depth == 0 {
		n = r.IntN(4)
	}
	switch n {
	case 4, 5:
		return &And{Terms: randomTerms(r, depth-1)}
	case 6:
		return &Or{Terms: randomTerms(r, depth-1)}
	case 7:
		return &Not{Term: randomExpr(r, depth-1)}
	case 0:
		return &Macro{Name: pick(r, "m", "order", "nothing", "oneof")}
	}
	check := &Check{Left: randomField(r)}
	if r.IntN(3) == 0 {
		check.Left = &Transform{Name: pick(r, "tolower", "len"), Args: []Operand{randomField(r)}}
	}
	switch r.IntN(5) {
	case 0:
		check.Op = "exists"
	case 1:
		check.Op, check.Right = pick(r, "<", ">="), &Value{Text: pick(r, "0x1f", "-1", "1.5e+3", "7")}
	case 2:
		check.Op = pick(r, "in", "pmatch", "contains oneof", "= allof")
		list := &List{}
		for range r.IntN(4) {
			list.Items = append(list.Items, randomValue(r))
		}
		check.Right = list
	case 3:
		check.Op, check.Right = "=", &Transform{Name: pick(r, "val", "toupper"), Args: []Operand{randomField(r)}}
	default:
		check.Op, check.Right = pick(r, "=", "!=", "startswith", "glob"), randomValue(r)
	}
	return check
}

func randomTerms(r *rand.Rand, depth int) []Expr {
	terms := make([]Expr, 2+r.IntN(2))
	for i := range terms {
		terms[i] = randomExpr(r, depth)
	}
	return terms
}

func randomField(r *rand.Rand) *Field {
	f := &Field{Name: pick(r, "proc.name", "fd.rip.name", "staging.bytes")}
	if r.IntN(3) == 0 {
		f.HasArg, f.Arg = true, pick(r, "5m", "2", "", "a b", "]", `"\`)
	}
	return f
}

func randomValue(r *rand.Rand) *Value {
	letters := []string{"a", "B", "0", " ", "\\", `"`, "'", "(", ")", ",", "=", "\n", "\x00", "\xff", "ü", "/", "x", "and", "oneof"}
	var b strings.Builder
	for range r.IntN(5) {
		b.WriteString(pick(r, letters...))
	}
	return &Value{Text: b.String(), Quoted: r.IntN(2) == 0}
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
