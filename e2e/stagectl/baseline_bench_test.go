package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Compare with benchstat:
//
//	go test -run=- -bench=BaselineMerge -count=10 ./e2e/stagectl | tee new.txt && benchstat old.txt new.txt
func BenchmarkBaselineMerge(b *testing.B) {
	const nodes, workloads = 1000, 20
	dir := b.TempDir()
	numBytes := 0
	for i := range nodes {
		f := nodeFile(b, fmt.Sprintf("node-%04d", i), workloads, 1)
		write(b, filepath.Join(dir, strconv.Itoa(i)), f)
		numBytes += f.Nodes()[0].Bytes
	}
	for _, compact := range []bool{false, true} {
		b.Run(fmt.Sprintf("nodes=%d/workloads=%d/compact=%v", nodes, workloads, compact), func(b *testing.B) {
			args := []string{"baseline", "merge", dir, "--out", filepath.Join(b.TempDir(), "fleet.baseline")}
			if compact {
				args = append(args, "--compact")
			}
			b.ReportAllocs()
			b.SetBytes(int64(numBytes))
			for b.Loop() {
				status, _, stderr := stagectl(b.Context(), args...)
				require.Equal(b, exitOK, status, stderr)
			}
		})
	}
}
