package abi

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// An instance without its C half panics at the first touch, as a defect behind any call would.
func TestAPanicBecomesAFailedCallWithALastError(t *testing.T) {
	broken := &instance{}
	err := broken.parse([]byte("any event"), 1)
	assert.ErrorContains(t, err, "parse: panic: ")
	assert.Equal(t, err, broken.LastError())
	assert.ErrorContains(t, broken.drainAll(), "drain: panic: ")
	assert.ErrorContains(t, broken.Extract(nil, nil), "extract: panic: ")
}
