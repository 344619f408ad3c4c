package regex_test

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/match/regex"
)

// A rule about the User-Agent of requests, in one event loop.
func Example() {
	pattern, err := regex.Compile(`(?i)(bot|crawl|spider)[/ ]v?\d+`, regex.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := regex.NewCache(regex.NewBudget(16 << 20))
	defer cache.Close()
	fmt.Println(pattern.Rung())
	fmt.Println(pattern.Match(cache, []byte("Mozilla/5.0 (compatible; ExampleBot/2.1)")))
	fmt.Println(pattern.Match(cache, []byte("Mozilla/5.0 (X11; Linux x86_64)")))
	// Output:
	// word
	// true
	// false
}

// The groups of a match.
func ExamplePattern_Submatches() {
	pattern, err := regex.Compile(`^/user/(\d+)(/.*)?$`, regex.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	path := []byte("/user/17")
	var groups regex.Groups
	if pattern.Submatches(regex.NewCache(nil), path, &groups) {
		fmt.Printf("%s %v\n", path[groups[1][0]:groups[1][1]], groups[2])
	}
	// Output: 17 [-1 -1]
}

// What is wrong with a pattern, and where.
func ExampleError() {
	_, err := regex.Compile(`/(a|b)/(c`, regex.Limits{})
	fmt.Println(err)
	// Output: regular expression, offset 7: missing closing ); for the character itself write \(
}
