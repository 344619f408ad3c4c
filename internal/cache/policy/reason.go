package policy

// Reason says why a request or an answer was treated as it was. Its word stands in Cache-Status, in logs and in what
// `edge explain` prints. The zero value, ReasonNone, says that there is no objection.
type Reason uint8

// The reasons. The first group is of requests that are passed on, the second of answers that are not stored, the
// third of stored answers: why they are used, or why the backend is asked.
const (
	ReasonNone Reason = iota

	ReasonOff
	ReasonMethod
	ReasonBody
	ReasonPrecondition
	ReasonRange
	ReasonHead
	ReasonUncacheable
	ReasonWaited
	ReasonCrowd
	ReasonKey

	ReasonStatus
	ReasonMustUnderstand
	ReasonNoStore
	ReasonRequestNoStore
	ReasonPrivate
	ReasonAuthorization
	ReasonCookie
	ReasonSetCookie
	ReasonVary
	ReasonNoLifetime
	ReasonNoValidator
	ReasonType
	ReasonUnknownField
	ReasonTooLarge
	ReasonTags
	ReasonProgram

	ReasonPurged // also of an answer that was ended while it was fetched
	ReasonNoCache
	ReasonRequestNoCache
	ReasonRequestMaxAge
	ReasonRequestMinFresh
	ReasonFresh
	ReasonMustRevalidate
	ReasonMaxStale
	ReasonRetryLater
	ReasonStaleWhile
	ReasonExpired
	ReasonOnlyIfCached
	ReasonStaleIfError
	ReasonStaleOnError

	ReasonCount // the number of Reasons, ReasonNone included: the length of a table indexed by Reason
)

// Class is which later requests a marker is for: their answers are not expected to be storable either.
type Class uint8

// The classes, each with more requests than the one before.
const (
	Nobody    Class = iota
	Visitors        // requests with Cookie or Authorization
	Everybody       // all requests for the same key
)

// String returns the word for r, "" for ReasonNone.
func (r Reason) String() string { return r.row().word }

// Explain returns a sentence about r, and what an operator can do about it: "" where there is nothing to do.
func (r Reason) Explain() (text, try string) {
	row := r.row()
	return row.text, row.try
}

// Marks returns the requests that a marker is for, where r is why an answer was not stored. A reason that lies in the
// answer alone marks all requests. A reason that needs Cookie or Authorization marks requests with these: otherwise the
// cookie of one visitor would switch the cache off for all. Answer.Marks also knows the status.
func (r Reason) Marks() Class { return r.row().marks }

// Uses reports whether r, by Rules.Reuse, is a reason to send the stored answer.
func (r Reason) Uses() bool {
	return r == ReasonFresh || r == ReasonMaxStale || r == ReasonRetryLater || r == ReasonStaleWhile
}

func (r Reason) row() *row {
	if r >= ReasonCount {
		return &reasons[ReasonNone]
	}
	return &reasons[r]
}

// row is what there is to say about a Reason.
type row struct {
	word, text, try string
	marks           Class
}

var reasons = [ReasonCount]row{
	ReasonOff: {word: "off",
		text: "the cache is off for this request: by its route or a rule, or because it is gRPC or asks for a tunnel",
		try:  "cache = true at the route"},
	ReasonMethod: {word: "method", text: "the method is not GET, HEAD or QUERY"},
	ReasonBody: {word: "body", text: "the request has content that the cache does not compare",
		try: "no content with GET and HEAD"},
	ReasonPrecondition: {word: "precondition",
		text: "the request has If-Match or If-Unmodified-Since, which the backend has to judge"},
	ReasonRange: {word: "range", try: "a larger range_fill",
		text: "the request asks for several ranges, or for one far from the beginning, and nothing is stored"},
	ReasonHead: {word: "head", text: "nothing is stored, and the answer to HEAD has no body to store"},
	ReasonUncacheable: {word: "uncacheable",
		text: "an answer to the same request could not be stored, at most 120 seconds ago",
		try:  "the reason in the log record of the first such request"},
	ReasonWaited: {word: "waited", text: "another request asks for the same answer, and its head did not come in time",
		try: "a longer lock_timeout, or a faster backend"},
	ReasonCrowd: {word: "crowd",
		text: "10 000 requests wait for the same answer, or answers on their way take as much memory as they may"},
	ReasonKey: {word: "key", text: "the request names no host, or its key is longer than 8 KiB"},

	ReasonStatus: {word: "status", text: "an answer with status 1xx, 206, 304 or 416 is not stored", marks: Everybody},
	ReasonMustUnderstand: {word: "must-understand", marks: Everybody,
		text: "the answer has must-understand, and edge does not know the status"},
	ReasonNoStore: {word: "no-store", marks: Everybody,
		text: "Cache-Control of the answer has no-store, is malformed so that its directives cannot be told apart, " +
			"or is named in Connection, as are fields like it",
		try: "no no-store from the backend, commas between directives, quotation marks in pairs"},
	ReasonRequestNoStore: {word: "request-no-store", try: `request_directives = "ignore"`,
		text: "Cache-Control of the request has no-store, or is malformed"},
	ReasonPrivate: {word: "private", marks: Everybody, text: "the answer is private: it is for one visitor",
		try: `public instead of private, or private="FIELD" for the fields that are`},
	ReasonAuthorization: {word: "authorization", marks: Visitors,
		text: "the request has Authorization, and the answer has neither public, s-maxage nor must-revalidate",
		try:  "public or s-maxage from the backend, where all users may have the answer"},
	ReasonCookie: {word: "cookie", marks: Visitors, text: "the request has a Cookie, and the answer states no lifetime",
		try: `max-age or s-maxage from the backend, or cookies = "ignore" where cookies do not change the answer`},
	ReasonSetCookie: {word: "set-cookie", marks: Everybody, text: "the answer sets a cookie",
		try: `set_cookie = "strip", or no Set-Cookie on this path`},
	ReasonVary: {word: "vary", marks: Everybody,
		text: "Vary of the answer has *, a name that is malformed, or more than 8 names",
		try:  "Vary with at most 8 names of fields that have few values"},
	ReasonNoLifetime: {word: "no-lifetime", marks: Everybody,
		text: "the answer states no lifetime, and none may be estimated for its status, or without Last-Modified",
		try:  `ttl at the route, as in cache = { ttl = "5m" }, or max-age or s-maxage from the backend`},
	ReasonNoValidator: {word: "no-validator", marks: Everybody,
		text: "the answer has no-cache, lifetime 0, or is as old as that, and has neither ETag nor Last-Modified",
		try:  "ETag, or a longer max-age or s-maxage from the backend, or a ttl; its clock, where Date is in the past"},
	ReasonType: {word: "type", marks: Visitors,
		text: "the path ends as a static file, Content-Type is not its, and the request has Cookie or Authorization",
		try:  "the Content-Type of such files, or 404 from the backend for paths that it does not know"},
	ReasonUnknownField: {word: "unknown-field",
		text: `fill = "known", and the request has a field that few requests have`, try: `fill = "any"`},
	ReasonTooLarge: {word: "too-large", marks: Everybody,
		text: "the body of the answer is larger than what is stored, or its head than 64 KiB",
		try:  "a larger object_max, or more memory or a disk for [cache]"},

	ReasonTags: {word: "tags", marks: Everybody, text: "the answer has more than 64 tags, by which it could be purged",
		try: "fewer tags, or fewer fields in tags of [cache]"},
	ReasonProgram: {word: "program", marks: Everybody, text: "the program that has the cache refuses the answer"},

	ReasonPurged: {word: "purged",
		text: "the answer was purged, or ended by a request that changes something, such as POST, while it came"},
	ReasonNoCache: {word: "no-cache", text: "the stored answer has no-cache: the backend is asked before each use",
		try: `s-maxage for edge beside max-age=0 for browsers, in place of no-cache; or obey = "ttl"`},
	ReasonRequestNoCache: {word: "request-no-cache", try: `request_directives = "ignore"`,
		text: "Cache-Control or Pragma of the request has no-cache, or is malformed"},
	ReasonRequestMaxAge: {word: "request-max-age", try: `request_directives = "ignore"`,
		text: "the stored answer is older than max-age of the request"},
	ReasonRequestMinFresh: {word: "request-min-fresh", try: `request_directives = "ignore"`,
		text: "the stored answer is not fresh for as long as min-fresh of the request says"},
	ReasonFresh: {word: "fresh", text: "the stored answer is younger than its lifetime"},
	ReasonMustRevalidate: {word: "must-revalidate",
		text: "the stored answer is expired, and must-revalidate, proxy-revalidate or s-maxage forbids to use it then",
		try:  "CDN-Cache-Control with max-age and stale-if-error from the backend, which goes before s-maxage"},
	ReasonMaxStale: {word: "max-stale", text: "the stored answer is expired, and max-stale of the request takes it"},
	ReasonRetryLater: {word: "retry-later",
		text: "the stored answer is expired, and the backend, which has just failed, is asked again in a second"},
	ReasonStaleWhile: {word: "stale-while-revalidate",
		text: "the stored answer is expired, and is used while the backend is asked"},
	ReasonExpired: {word: "expired", text: "the stored answer is as old as its lifetime, or older",
		try: "a longer max-age or s-maxage from the backend, or stale_while; its clock, where Date is in the past"},
	ReasonOnlyIfCached: {word: "only-if-cached", try: `request_directives = "ignore"`,
		text: "only-if-cached of the request forbids to ask the backend, and nothing is stored that may be used"},
	ReasonStaleIfError: {word: "stale-if-error",
		text: "the backend has failed, and stale-if-error of the stored answer has it used in place of the error"},
	ReasonStaleOnError: {word: "stale-on-error",
		text: "the backend does not answer, and stale_on_error of the route has the stored answer used instead"},
}
