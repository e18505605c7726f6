package report

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"
)

// WriteJUnit writes the run as JUnit XML: one suite, one test for each case, with the explanation that the table has.
func WriteJUnit(w io.Writer, r Run) error {
	suite := junit.Testsuite{Name: "stagectl test", Time: junitSeconds(r.Elapsed)}
	suite.AddProperty("engine", r.Engine)
	suite.AddProperty("engine.version", printable(r.Version))
	for _, res := range r.Results {
		tc := junit.Testcase{
			Name:      res.Case.Name,
			Classname: filepath.ToSlash(filepath.Dir(res.Case.Pos.File)),
			Time:      junitSeconds(res.Elapsed),
		}
		switch res.Status() {
		case NotRun:
			tc.Error = &junit.Result{Message: "could not be run", Data: details(res, false)}
		case Failed:
			tc.Failure = &junit.Result{
				Message: fmt.Sprintf("%d missing, %d unexpected", len(res.Verdict.Missing), len(res.Verdict.Unexpected)),
				Data:    details(res, false),
			}
		case Passed:
		}
		suite.AddTestcase(tc)
	}
	all := junit.Testsuites{Time: suite.Time}
	all.AddSuite(suite)
	if err := all.WriteXML(w); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}

func junitSeconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
