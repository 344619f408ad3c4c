// Package origin is the origins of the web (RFC 6454) that a configuration lists, and the one that a request names.
//
// It is not a filter: the types of filters that look at Origin share it.
//
//	set, err := origin.NewSet([]string{"https://app.example.com", "https://*.example.org"})
//	set.Has(value)
//
// An origin is compared byte by byte with what a browser sends: the scheme and the host in lower case, a port unless it
// is that of the scheme, and no slash after it. NewSet refuses what no browser sends, so that a mistake is found when
// the configuration is loaded, and not as a request that fails.
//
// A star stands for one or more letters, digits, dashes and dots. It never stands for a part of the name that somebody
// else may register: "https://*example.com" would be an origin of evil-example.com, and is refused.
//
// A Set is immutable and safe for any goroutine. Has allocates nothing.
package origin
