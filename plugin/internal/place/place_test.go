package place_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/falco-datastaging/datastaging/plugin/internal/place"
)

func TestFewKeepsTheLargeAndCountsTheRest(t *testing.T) {
	var f place.Few[int]
	for i := range 100 {
		f.Add(i, 1)
		f.Add(1000, 50)
	}
	counts, rest := f.All()
	require.Len(t, counts, 8)
	assert.Equal(t, place.Count[int]{Place: 1000, NumBytes: 5000}, counts[0])
	total := rest
	for _, c := range counts {
		total += c.NumBytes
	}
	assert.EqualValues(t, 5100, total, "nothing is lost")
}

func TestFewDirectoriesStayAsTheyAre(t *testing.T) {
	var d place.Dirs
	d.Add("/etc", 10)
	d.Add("/etc/ssl", 20)
	d.Add("/srv/customers", 30)
	d.Add("/etc", 5)
	assert.Equal(t, []place.Count[string]{{Place: "/srv/customers", NumBytes: 30}, {Place: "/etc/ssl", NumBytes: 20}, {Place: "/etc", NumBytes: 15}}, d.All())
}

func TestManyDirectoriesAreTakenTogether(t *testing.T) {
	var d place.Dirs
	for i := range 500 {
		d.Add(fmt.Sprintf("/srv/customers/%d/orders", i), 10)
	}
	d.Add("/etc", 7)
	assert.Equal(t, []place.Count[string]{{Place: "/srv/customers", NumBytes: 5000}, {Place: "/etc", NumBytes: 7}}, d.All())
}

func TestDirectoriesLoseNothingWhateverTheirOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var d place.Dirs
		var added uint64
		for range 300 {
			path := "/"
			for range r.IntN(6) {
				path = filepath.Join(path, string(rune('a'+r.IntN(4))))
			}
			n := r.Uint64N(100)
			d.Add(path, n)
			added += n
		}
		var total uint64
		for _, c := range d.All() {
			total += c.NumBytes
		}
		assert.Equal(t, added, total)
		assert.LessOrEqual(t, len(d.All()), 8)
	}
}

func TestBytesMoveInProportionAndOnce(t *testing.T) {
	var d place.Dirs
	d.Add("/a", 300)
	d.Add("/b", 100)
	var to place.Dirs
	d.MoveTo(&to, 40)
	assert.Equal(t, []place.Count[string]{{Place: "/a", NumBytes: 30}, {Place: "/b", NumBytes: 10}}, to.All())
	assert.Equal(t, []place.Count[string]{{Place: "/a", NumBytes: 270}, {Place: "/b", NumBytes: 90}}, d.All())
	d.MoveTo(&to, 1000)
	d.MoveTo(&to, 1000)
	assert.Equal(t, []place.Count[string]{{Place: "/a", NumBytes: 300}, {Place: "/b", NumBytes: 100}}, to.All())
	assert.Empty(t, d.All())
	d.Add("/c", 1)
	assert.Equal(t, []place.Count[string]{{Place: "/c", NumBytes: 1}}, d.All())
	to.AddTo(&d)
	assert.Equal(t, []place.Count[string]{{Place: "/a", NumBytes: 300}, {Place: "/b", NumBytes: 100}, {Place: "/c", NumBytes: 1}}, d.All())
}

func TestACopyIsOnItsOwn(t *testing.T) {
	var d place.Dirs
	d.Add("/a", 1)
	c := d.Clone()
	c.Add("/a", 1)
	c.Add("/b", 1)
	assert.Equal(t, []place.Count[string]{{Place: "/a", NumBytes: 1}}, d.All())
}

func TestRelativeAndEmptyPathsDoNoHarm(t *testing.T) {
	var d place.Dirs
	for i := range 50 {
		d.Add(fmt.Sprintf("memfd:%d", i), 1)
		d.Add("", 1)
	}
	var total uint64
	for _, c := range d.All() {
		total += c.NumBytes
	}
	assert.EqualValues(t, 100, total)
}
