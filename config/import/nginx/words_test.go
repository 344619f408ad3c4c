package nginx

import (
	"strings"
	"testing"
)

// A directive has one reason, whatever the order of the tables.
func TestWords_areThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, table := range []map[string]string{needless(), lost()} {
		for words := range table {
			for _, w := range strings.Fields(words) {
				if seen[w] {
					t.Errorf("%s is there twice", w)
				}
				seen[w] = true
			}
		}
	}
}
