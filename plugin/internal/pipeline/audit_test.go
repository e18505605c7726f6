package pipeline_test

import (
	"fmt"
	"testing"
	"time"

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

func TestSecretsThatOneDeploysAreNotCollected(t *testing.T) {
	p, _ := newPipeline(t)
	num := uint64(0)
	do := func(verb, name string) any {
		num++
		p.State(&decode.State{Kind: decode.KindPlugin, TS: start + num*uint64(time.Second), Num: num, Data: fmt.Appendf(nil,
			`{"stage":"ResponseComplete","verb":%q,"user":{"username":"ci"},"responseStatus":{"code":200},
			"objectRef":{"resource":"secrets","namespace":"shop","name":%q}}`, verb, name)})
		return p.Extract(num, start+num*uint64(time.Second), 0, id(t, "staging.sources"), "", false)
	}
	assert.EqualValues(t, 1, do("get", "tls"))
	assert.EqualValues(t, 0, do("patch", "tls"))
	assert.EqualValues(t, 0, do("get", "tls"), "it knows what is in it")
	do("create", "db")
	assert.EqualValues(t, 0, do("get", "db"))
	assert.EqualValues(t, 1, do("get", "payment"))
	assert.EqualValues(t, 1, do("get", "payment"), "the same one")
	assert.EqualValues(t, 1, do("delete", "payment"), "which does not make it one's own")
}
