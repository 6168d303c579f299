package mapping

import "strings"

// Suggest returns a hint for a word that is not among the known ones.
func Suggest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		d := distance(strings.ToLower(word), k)
		if d < least && d < max(len(k), len(word)) {
			best, least = k, d
		}
	}
	if best != "" {
		return ", did you mean " + best + "?"
	}
	return ", expected one of " + strings.Join(known, ", ")
}

// distance returns how many letters must be added, removed, changed or swapped with their neighbour to get from a to b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var d [66][66]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
