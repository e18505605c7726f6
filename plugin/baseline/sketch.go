package baseline

import (
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
)

// sketch is a DDSketch of positive integers. A nil one is empty.
//
// The mapping from values to bins and back is sketches-go's. The bins are kept here, sorted: a uint64 falls into one of
// 2,218 bins, so none ever has to be collapsed and merging is exact in any order, and a bin takes 8 bytes, where the
// library's smallest store takes pages of 256 bytes and its decoders trust the sizes that they read.
type sketch struct {
	bins  []bin
	count uint64 // of all bins
}

type bin struct {
	index uint16
	count uint32 // saturates
}

const (
	accuracy = 0.01
	maxIndex = 2217 // of the largest uint64
)

// binning is never changed once made.
var binning = func() *mapping.LogarithmicMapping {
	m, err := mapping.NewLogarithmicMapping(accuracy)
	if err != nil {
		panic(err) // accuracy is not between 0 and 1
	}
	return m
}()

// indexOf returns the bin of x, which is not 0.
func indexOf(x uint64) uint16 { return uint16(binning.Index(float64(x))) }

// valueOf returns the value that is within the accuracy of everything in a bin.
func valueOf(index uint16) float64 { return binning.Value(int(index)) }

// add counts a value's bin.
func (s *sketch) add(index uint16, count uint32) {
	i, found := slices.BinarySearchFunc(s.bins, index, func(b bin, index uint16) int { return int(b.index) - int(index) })
	if !found {
		s.bins = slices.Insert(s.roomy(), i, bin{index: index})
	}
	before := s.bins[i].count
	s.bins[i].count = saturate(before, count)
	s.count += uint64(s.bins[i].count - before)
}

// roomy returns the bins with room for one more. Thousands of sketches grow slowly, so they grow by an eighth and not
// by half.
func (s *sketch) roomy() []bin {
	if len(s.bins) < cap(s.bins) {
		return s.bins
	}
	return append(make([]bin, 0, len(s.bins)+len(s.bins)/8+4), s.bins...)
}

func saturate(a, b uint32) uint32 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint32
}

// merge adds what o holds.
func (s *sketch) merge(o *sketch) {
	merged := make([]bin, 0, len(s.bins)+len(o.bins))
	i, j := 0, 0
	for i < len(s.bins) && j < len(o.bins) {
		a, b := s.bins[i], o.bins[j]
		switch {
		case a.index < b.index:
			merged = append(merged, a)
			i++
		case a.index > b.index:
			merged = append(merged, b)
			j++
		default:
			merged = append(merged, bin{a.index, saturate(a.count, b.count)})
			i++
			j++
		}
	}
	merged = append(merged, s.bins[i:]...)
	s.bins = slices.Clip(append(merged, o.bins[j:]...))
	s.count = 0
	for _, b := range s.bins {
		s.count += uint64(b.count)
	}
}

// permilles are the quantiles that make a normal.
var permilles = [3]uint64{500, 840, 990}

// quantiles returns the quantiles by nearest rank of all that the sketches hold together, zeros when that is nothing.
func quantiles(sketches []*sketch) (q [len(permilles)]float64) {
	var count uint64
	for _, s := range sketches {
		count += s.count
	}
	if count == 0 {
		return q
	}
	var ranks [len(permilles)]uint64
	for i, permille := range permilles {
		ranks[i] = rank(permille, count)
	}
	// The sorted bins of all sketches are walked at once, so nothing is merged for a look.
	var at [maxParts]int
	var passed uint64
	next := 0
	for {
		least := uint16(math.MaxUint16)
		for i, s := range sketches {
			if at[i] < len(s.bins) {
				least = min(least, s.bins[at[i]].index)
			}
		}
		for i, s := range sketches {
			if at[i] < len(s.bins) && s.bins[at[i]].index == least {
				passed += uint64(s.bins[at[i]].count)
				at[i]++
			}
		}
		for passed >= ranks[next] {
			q[next] = valueOf(least)
			if next++; next == len(ranks) {
				return q
			}
		}
	}
}

// rank returns the nearest rank of a quantile, from 1 to count: ceil(permille/1000 * count) without overflow.
func rank(permille, count uint64) uint64 {
	return count/1000*permille + (count%1000*permille+999)/1000
}
