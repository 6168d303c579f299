package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table is a Markdown table, aligned for reading as it is.
type table struct {
	rows [][]string // the first is the head
}

func newTable(head ...string) *table { return &table{[][]string{head}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(title string) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Printf("\n%s\n\n", title)
	for i, row := range t.rows {
		for j, cell := range row {
			fmt.Printf("| %-*s ", widths[j], cell)
		}
		fmt.Println("|")
		if i == 0 {
			for _, width := range widths {
				fmt.Print("|", strings.Repeat("-", width+2))
			}
			fmt.Println("|")
		}
	}
	fmt.Println()
}

// ratio returns a/b as text; nothing where there is no b.
func ratio(a, b float64) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

// median returns the middle one of what get takes from the runs, and zero where there are none.
func median[R any, N cmp.Ordered](runs []R, get func(R) N) N {
	values := make([]N, len(runs))
	for i, run := range runs {
		values[i] = get(run)
	}
	if len(values) == 0 {
		var none N
		return none
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func mebibytes[R any](runs []R, get func(R) usage) string {
	return fmt.Sprintf("%.0f", float64(median(runs, func(r R) int64 { return get(r).memory }))/(1<<20))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
