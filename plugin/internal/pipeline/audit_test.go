package pipeline_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/falco-datastaging/datastaging/plugin/internal/decode"
)

func TestAConnectionIsOneEntryFromItsBeginningToItsEnd(t *testing.T) {
	p, _ := newPipeline(t)
	num := uint64(0)
	action := func(request, stage string) any {
		num++
		p.State(&decode.State{Kind: decode.KindPlugin, TS: start, Num: num, Data: fmt.Appendf(nil,
			`{"auditID":%q,"stage":%q,"verb":"get","user":{"username":"alice"},"requestURI":"/x?command=id","responseStatus":{"code":101},
			"objectRef":{"resource":"pods","namespace":"shop","name":"db-0","subresource":"exec"}}`, request, stage)})
		return p.Extract(num, start, 0, id(t, "audit.action"), "", false)
	}
	assert.Equal(t, "exec", action("1", "ResponseStarted"))
	assert.Equal(t, "exec", action("2", "ResponseStarted"))
	assert.Equal(t, "other", action("1", "ResponseComplete"))
	assert.Equal(t, "exec", action("3", "ResponseComplete"), "its beginning was not logged")
}
