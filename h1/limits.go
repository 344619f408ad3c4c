package h1

// Limits bounds what a Decoder accepts. A zero means the default. Immutable while a decoder uses it.
type Limits struct {
	HeadBytes    int // first line, fields and the empty line; default 32 KiB
	RequestLine  int // with its line end; default 8 KiB
	FieldBytes   int // one line of a field; default 16 KiB
	FieldCount   int // lines of fields; default 100
	ChunkLine    int // size and extensions of a chunk, with the line end; default 256
	TrailerBytes int // the trailer section; default 8 KiB
	TrailerCount int // its lines; default 32
}

// Bounds that are not options.
const (
	connectionOptionsMax = 32       // Connection: a,a,a,… is compared with every field
	interimMax           = 32       // 1xx answers before the real one: each is work that the origin asks for
	chunkExcessMax       = 16 << 10 // overhead of chunks beyond their data, CVE-2023-39326
	headBytesMax         = 1 << 30  // spans are 32 bits wide
)

var defaultLimits Limits

func (l *Limits) headBytes() int    { return min(or(l.HeadBytes, 32<<10), headBytesMax) }
func (l *Limits) requestLine() int  { return or(l.RequestLine, 8<<10) }
func (l *Limits) fieldBytes() int   { return or(l.FieldBytes, 16<<10) }
func (l *Limits) fieldCount() int   { return min(or(l.FieldCount, 100), 1<<16-1) } // marks are 16 bits wide
func (l *Limits) chunkLine() int    { return or(l.ChunkLine, 256) }
func (l *Limits) trailerBytes() int { return min(or(l.TrailerBytes, 8<<10), headBytesMax) }
func (l *Limits) trailerCount() int { return min(or(l.TrailerCount, 32), 1<<16-1) }

func or(v, otherwise int) int {
	if v > 0 {
		return v
	}
	return otherwise
}
