// Package location makes targets of requests, and Locations of redirects, of templates (package lang).
//
//	https://{host}:8443{path.cut_prefix("/old")}?back={target}
//
// It decides what a request may choose in them. The template names the place: a scheme and a host that are written out,
// the host that was asked for, or one of a map of the configuration. A value never extends it, and what is a path
// begins with one slash, since browsers take two for a host. Values are percent-encoded for where they stand:
//
//	path    {path} {rest} {query}   as they came: codecs let in what a target may have, and nothing else
//	path    any other value         what no path has is encoded, "?" and "#" too; "%41" stays, it is encoded already
//	query   {path} {rest} {query}   as they came
//	query   any other value         all but letters, digits and "-._~/" is encoded, so that it is one parameter
//	        with url_encode in it   what no query has is encoded: the template has encoded the rest
//
// A path that is sent on has no dot segment that a value makes: a backend would resolve it, and get another path than
// the path that the route has seen.
//
// A Template is immutable and safe for any goroutine. Append allocates nothing. The limits are Max, TextMax and
// PartsMax.
package location
