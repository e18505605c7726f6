package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/falco-datastaging/datastaging/e2e/internal/cases"
)

// WriteJUnit writes the run as JUnit XML: for each engine a suite with one test for each case, with the explanation that the
// table has, and where there are two engines, a suite with a test for each case that both could run: whether they agree.
func WriteJUnit(w io.Writer, r Run) error {
	all := junit.Testsuites{Time: junitSeconds(r.Elapsed)}
	for _, e := range r.Engines {
		suite := junit.Testsuite{Name: "stagectl test on " + e.Name}
		suite.AddProperty("engine", e.Name)
		suite.AddProperty("engine.version", printable(e.Version))
		suite.AddProperty("replays", strconv.Itoa(r.Replays))
		suite.AddProperty("replays.cached", strconv.Itoa(r.Cached))
		var elapsed time.Duration
		for _, res := range r.Results {
			if res.Engine == e.Name {
				suite.AddTestcase(junitCase(res))
				elapsed += res.Elapsed
			}
		}
		suite.Time = junitSeconds(elapsed)
		all.AddSuite(suite)
	}
	if len(r.Agreements) > 0 {
		suite := junit.Testsuite{Name: "engines agree", Time: junitSeconds(0)}
		for _, a := range r.Agreements {
			tc := junit.Testcase{Name: a.Case.Name, Classname: classname(a.Case), Time: junitSeconds(0)}
			if a.Difference != nil {
				tc.Failure = &junit.Result{Message: "the engines differ", Data: disagreement(a)}
			}
			suite.AddTestcase(tc)
		}
		all.AddSuite(suite)
	}
	if err := all.WriteXML(w); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func junitCase(res Result) junit.Testcase {
	tc := junit.Testcase{Name: res.Case.Name, Classname: classname(res.Case), Time: junitSeconds(res.Elapsed)}
	switch res.Status() {
	case NotRun:
		tc.Error = &junit.Result{Message: "could not be run", Data: details(res, false)}
	case Failed:
		tc.Failure = &junit.Result{Message: summary(res), Data: details(res, false)}
	case Passed:
	}
	return tc
}

// summary tells in a few words what is wrong with a result that failed.
func summary(res Result) string {
	return fmt.Sprintf("%d missing, %d unexpected", len(res.Verdict.Missing), len(res.Verdict.Unexpected))
}

// classname is the folder of the case's file, by which CI groups tests.
func classname(c cases.Case) string { return filepath.ToSlash(filepath.Dir(c.Pos.File)) }

func junitSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
