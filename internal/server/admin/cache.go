package admin

import "net/http"

// Cache is the cache of a process. Safe for any goroutine but a reactor's.
type Cache interface {
	// Stats returns what it has and has done.
	Stats() *CacheStats
	// Purge ends what is stored. ErrInvalid: it does not name what.
	Purge(p *CachePurge) (*CachePurged, error)
	// Entry returns what is stored for a GET of a URL with these fields. ErrInvalid: it is no URL, or no cache
	// is asked for it.
	Entry(url string, fields []string) (*CacheEntry, error)
}

// ErrNoCache says that the process has no cache.
var ErrNoCache error = &problem{http.StatusNotFound, "no-cache", "no route has a cache"}

// CachePurge says which stored answers to end: it has one of the first five.
type CachePurge struct {
	URL    string `json:"url,omitempty" doc:"As in http://example.com/a?b=1. The scheme and the port do not count."`
	Prefix string `json:"prefix,omitempty" doc:"A URL with a slash at its end: all paths that begin so."`
	Host   string `json:"host,omitempty"`
	Tag    string `json:"tag,omitempty" doc:"As answers name it in the fields that tags of [cache] lists."`
	All    bool   `json:"all,omitempty"`
	Soft   bool   `json:"soft,omitempty" doc:"Expired, and not gone: to be sent as stale answers where these may."`
}

// CachePurged is the answer to a purge.
type CachePurged struct {
	Seq uint64 `json:"seq" doc:"Its number. A later purge has a greater one."`
}

// CacheStats is what a cache has and has done since the process began.
type CacheStats struct {
	Objects   int         `json:"objects" doc:"Answers, and what is known of answers that are not stored."`
	Bytes     int64       `json:"bytes" doc:"That the store takes, and answers on their way to it."`
	Evicted   uint64      `json:"evicted" doc:"Objects that gave way to others."`
	Bodies    int         `json:"bodies" doc:"Bodies of 32 KiB and more, each in a file in memory."`
	BodyBytes int64       `json:"body_bytes" doc:"That these take, and those that are on their way or are still sent."`
	Fills     uint64      `json:"fills" doc:"Requests to backends for answers to store."`
	Followers uint64      `json:"followers" doc:"Requests that waited for the answer to another one."`
	Stored    uint64      `json:"stored"`
	Refused   uint64      `json:"refused" doc:"Answers that are worth less than what they would displace."`
	Purges    CachePurges `json:"purges" doc:"That were asked for."`
	Disk      *CacheDisk  `json:"disk,omitempty" doc:"Absent where answers are kept in memory only."`
}

// CacheDisk is what the disk of a cache has and has done since the process began.
type CacheDisk struct {
	Objects int    `json:"objects" doc:"That can be found."`
	Bytes   int64  `json:"bytes"`
	Size    int64  `json:"size" doc:"Bytes that there may be."`
	Written uint64 `json:"written" doc:"Bytes."`
	Read    uint64 `json:"read" doc:"Objects."`
	Dropped uint64 `json:"dropped" doc:"Objects that were not written: too many waited, or the disk had failed."`
	Errors  uint64 `json:"errors" doc:"Failures, and damaged objects."`
	Paused  bool   `json:"paused" doc:"Nothing is written, since the disk has failed, is slow or full."`
}

// CachePurges counts purges by what they named.
type CachePurges struct {
	URL     uint64 `json:"url"`
	Prefix  uint64 `json:"prefix"`
	Host    uint64 `json:"host"`
	Tag     uint64 `json:"tag"`
	All     uint64 `json:"all"`
	Refused uint64 `json:"refused" doc:"Requests with the method PURGE."`
}

// CacheEntry is what a cache has for a request.
type CacheEntry struct {
	Authority string   `json:"authority,omitempty" doc:"Of the key."`
	Target    string   `json:"target,omitempty" doc:"That the backend would be asked for."`
	State     string   `json:"state" enum:"fresh,stale,expired,purged,uncacheable,none,bypass"`
	Reason    string   `json:"reason,omitempty" doc:"A word of docs/cache.md."`
	Explained string   `json:"explained,omitempty" doc:"The reason in a sentence."`
	Try       string   `json:"try,omitempty" doc:"What can be done about it."`
	Vary      []string `json:"vary,omitempty" doc:"Fields of requests by which the answers vary."`
	Status    int      `json:"status,omitempty"`
	Age       int      `json:"age,omitempty" doc:"In seconds."`
	TTL       int      `json:"ttl,omitempty" doc:"For how many seconds it is fresh; below 0: for how many it was not."`
	Length    int      `json:"length,omitempty" doc:"Bytes of the body."`
	Fields    []string `json:"fields,omitempty" doc:"As in Content-Type: text/css."`
}

// cacheEndpoints are the operations of the cache.
func cacheEndpoints() []Endpoint {
	return []Endpoint{
		{Method: "GET", Pattern: "/v1/cache", Needs: MayRead, Command: "cache stats", Out: CacheStats{},
			Doc: "Say what the cache has and has done. 404 `no-cache`: no route has one.",
			answer: func(c *call) (any, error) {
				return withCache(c, func(of Cache) (any, error) { return of.Stats(), nil })
			}},
		{Method: "GET", Pattern: "/v1/cache/entry", Needs: MayRead, Heavy: true, Command: "cache get",
			Out: CacheEntry{},
			Query: []Param{{"url", "What is asked for by GET, as in `http://example.com/a?b=1`."},
				{"field", "A field of the request, as in `Cookie: lang=de`; it may come several times."}},
			Doc: "Say what is stored for a URL, or why nothing is. Nothing is sent.",
			answer: func(c *call) (any, error) {
				q := c.request.URL.Query()
				return withCache(c, func(of Cache) (any, error) { return of.Entry(q.Get("url"), q["field"]) })
			}},
		{Method: "POST", Pattern: "/v1/cache/purge", Needs: MayChange, Command: "cache purge", In: CachePurge{},
			Out: CachePurged{},
			Doc: "End what is stored for a URL, below a prefix, for a host, with a tag, or all. A request that " +
				"begins after the answer is not given what was asked for before. 400: it does not name one of these.",
			answer: asked(func(c *call, p *CachePurge) (any, error) {
				return withCache(c, func(of Cache) (any, error) { return of.Purge(p) })
			})},
	}
}

func withCache(c *call, answer func(of Cache) (any, error)) (any, error) {
	of, err := c.process.Cache()
	if err != nil {
		return nil, err
	}
	return answer(of)
}
