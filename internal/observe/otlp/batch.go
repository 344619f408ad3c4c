package otlp

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"

	"github.com/edge-proxy/edge/internal/observe"
)

const (
	batchRecords = 512     // end a batch
	batchBytes   = 1 << 20 // likewise: collectors take 4 MiB by gRPC
)

// The tags of ExportTraceServiceRequest, ResourceSpans and ScopeSpans. ExportLogsServiceRequest has the same.
const (
	tagGroup        = 1<<3 | 2 // all entries with one resource
	tagResource     = 1<<3 | 2
	tagScoped       = 2<<3 | 2 // all entries of one scope
	tagScope        = 1<<3 | 2
	tagScopeName    = 1<<3 | 2
	tagScopeVersion = 2<<3 | 2
)

// batch is the body of one request while it is written. Owned by one goroutine.
type batch struct {
	message
	records int

	grpc            bool
	resource, scope []byte // fields that are the same in each batch
	group, scoped   int    // where the messages around the entries begin
	gzip            *gzip.Writer
	compressed      bytes.Buffer
}

func newBatch(resource []observe.Field, version string, grpc, compressed bool) batch {
	b := batch{grpc: grpc}
	if compressed {
		b.gzip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // there is such a level
	}
	r := message{tag: 1<<3 | 2}
	at := r.open(tagResource)
	for _, f := range resource {
		named(&r, "", f.Name, f.Value)
	}
	r.close(at)
	s := message{}
	at = s.open(tagScope)
	writeText(&s, tagScopeName, "github.com/edge-proxy/edge")
	writeText(&s, tagScopeVersion, version)
	s.close(at)
	b.resource, b.scope = r.p, s.p
	b.begin()
	return b
}

// begin makes b an empty batch.
func (b *batch) begin() {
	b.records, b.p = 0, b.p[:0]
	if b.grpc {
		b.p = append(b.p, 0, 0, 0, 0, 0)
	}
	b.group = b.open(tagGroup)
	b.p = append(b.p, b.resource...)
	b.scoped = b.open(tagScoped)
	b.p = append(b.p, b.scope...)
}

func (b *batch) full() bool { return b.records >= batchRecords || len(b.p) >= batchBytes }

// finish returns the body. It is valid until begin.
func (b *batch) finish() []byte {
	b.close(b.scoped)
	b.close(b.group)
	body := b.p
	if b.gzip != nil {
		head := 0
		if b.grpc {
			head = frameHead
		}
		b.compressed.Reset()
		b.compressed.Write(body[:head])
		b.gzip.Reset(&b.compressed)
		_, _ = b.gzip.Write(body[head:]) // a bytes.Buffer takes all
		_ = b.gzip.Close()
		body = b.compressed.Bytes()
	}
	if b.grpc {
		if b.gzip != nil {
			body[0] = 1
		}
		binary.BigEndian.PutUint32(body[1:], uint32(len(body)-frameHead))
	}
	return body
}
