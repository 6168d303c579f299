package park

import (
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Whatever the size of the reads, the same bytes come.
func TestCopyReader_IsAReader(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100} {
		var rows []newRow
		want := []byte(copyHeader)
		for i, it := range items(1, n, "key") {
			rows = append(rows, newRow{Parked: &it, id: int64(i)})
		}
		for i := range rows {
			want = appendRow(want, &rows[i])
		}
		want = append(want, copyTrailer...)
		require.NoError(t, iotest.TestReader(&copyReader{rows: slices.Clone(rows)}, want))
	}
}
