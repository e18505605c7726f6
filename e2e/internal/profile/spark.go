package profile

import (
	"math"

	"github.com/falco-datastaging/datastaging/plugin/baseline"
)

// Levels of a sparkline, from none to all.
var (
	blocks = []rune(" ▁▂▃▄▅▆▇█")
	ascii  = []rune(" .:-=+*#@")
)

// sparkWidth is the most cells of a sparkline.
const sparkWidth = 24

// binWidth is the width of the sketch's bins on the scale of log2: its values are 1 % off at most.
var binWidth = math.Log2(1.01 / 0.99)

// sparkline draws the histogram of a distribution on a logarithmic scale from its least to its greatest value, which the
// first and the last cell hold. A cell with anything in it shows at least the lowest level.
func sparkline(bins []baseline.Bin, levels []rune) string {
	if len(bins) == 0 {
		return ""
	}
	first, last := log2(bins[0].Value), log2(bins[len(bins)-1].Value)
	// Cells narrower than a bin would make gaps where there are none.
	cells := min(sparkWidth, 1+int(math.Round((last-first)/binWidth)))
	counts := make([]uint64, cells)
	var most uint64
	for _, b := range bins {
		cell := 0
		if cells > 1 {
			cell = int(math.Round((log2(b.Value) - first) / (last - first) * float64(cells-1)))
		}
		counts[cell] += b.Count
		most = max(most, counts[cell])
	}
	line := make([]rune, cells)
	top := len(levels) - 1
	for i, n := range counts {
		level := int(math.Round(float64(n) / float64(most) * float64(top)))
		if n > 0 {
			level = max(level, 1)
		}
		line[i] = levels[level]
	}
	return string(line)
}

func log2(n uint64) float64 { return math.Log2(float64(max(n, 1))) }
