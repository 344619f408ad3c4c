// Package requestlimits is the filter type "request_limits": what a request may be, of a route or a listener.
//
//	[filters.forms]
//	type          = "request_limits"
//	methods       = ["GET", "POST"]
//	body          = "1m"
//	content_types = ["application/json", "multipart/form-data"]
//
// It is no guard of the server's memory: `limits` of a listener are, which the codecs obey while a head is read, before
// any filter. What this filter bounds is lower, and differs from route to route.
//
// # What is looked at
//
// The request as it came, in this order: method (405 with Allow), length of the target (414), fields and their bytes
// (431), parameters of the query (400), type of the content (415), length of the body (413). A body whose length is not
// told is counted while it is passed on, and cut off where it becomes too long: see proxy.LimitBody.
//
// # Life cycle, threads and ownership
//
// A filter is immutable after New, and safe for all reactors. A request that passes costs a comparison for each limit
// that is set, a walk over its fields for those of the head, and no allocation. A body is neither copied nor kept.
package requestlimits
