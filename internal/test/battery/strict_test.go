package battery

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// message is what the strict reader saw of one request or answer.
type message struct {
	line     string
	fields   [][2]string
	body     string
	trailers [][2]string
	raw      string // the head
}

func (m *message) get(name string) string {
	return strings.Join(m.all(name), ", ")
}

func (m *message) all(name string) (values []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			values = append(values, f[1])
		}
	}
	return values
}

// word returns the nth word of the first line.
func (m *message) word(n int) string {
	if words := strings.Split(m.line, " "); n < len(words) {
		return words[n]
	}
	return ""
}

func (m *message) status() int {
	n, _ := strconv.Atoi(m.word(1))
	return n
}

// violation is what a strict reader does not forgive.
type violation struct{ what string }

func (v violation) Error() string { return v.what }

func violates(format string, args ...any) error { return violation{fmt.Sprintf(format, args...)} }

func isViolation(err error) bool {
	var v violation
	return errors.As(err, &v)
}

var (
	requestLine = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+ (/[!-~]*|\*|[^ /]+:[0-9]+) HTTP/1\.1$`)
	statusLine  = regexp.MustCompile(`^HTTP/1\.1 [1-9][0-9][0-9] [^\x00-\x08\x0a-\x1f\x7f]*$`)
	fieldLine   = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+):([^\x00-\x08\x0a-\x1f\x7f]*)$`)
	sizeLine    = regexp.MustCompile(`^[0-9A-Fa-f]{1,15}$`)
)

const headMax = 1 << 20

// readLine reads a line that ends with CRLF and holds neither of the two elsewhere.
func readLine(in *bufio.Reader) (string, error) {
	text, err := in.ReadString('\n')
	if err != nil {
		if text == "" {
			return "", err
		}
		return "", io.ErrUnexpectedEOF
	}
	body, ok := strings.CutSuffix(text, "\r\n")
	if !ok || strings.ContainsAny(body, "\r\x00") {
		return "", violates("line %q", text)
	}
	return body, nil
}

// readHead reads a head; first says what its first line must look like.
func readHead(in *bufio.Reader, first *regexp.Regexp) (*message, error) {
	m := &message{}
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	if !first.MatchString(line) {
		return nil, violates("first line %q", line)
	}
	m.line, m.raw = line, line+"\r\n"
	m.fields, err = readFields(in, &m.raw)
	return m, err
}

func readFields(in *bufio.Reader, raw *string) (fields [][2]string, err error) {
	for {
		line, err := readLine(in)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		*raw += line + "\r\n"
		if line == "" {
			return fields, nil
		}
		parts := fieldLine.FindStringSubmatch(line)
		if parts == nil {
			return nil, violates("field line %q", line)
		}
		fields = append(fields, [2]string{parts[1], strings.Trim(parts[2], " \t")})
		if len(*raw) > headMax {
			return nil, violates("endless head")
		}
	}
}

// framing returns the length of a body: -1 chunked, -2 none is told.
func framing(m *message) (int, error) {
	lengths, codings := m.all("Content-Length"), m.all("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) == 0:
		return -2, nil
	case len(lengths)+len(codings) > 1:
		return 0, violates("framed twice: %q %q", lengths, codings)
	case len(codings) == 1:
		if codings[0] != "chunked" {
			return 0, violates("transfer coding %q", codings[0])
		}
		return -1, nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 40)
	if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
		return 0, violates("Content-Length %q", lengths[0])
	}
	return int(n), nil
}

// readBody reads a body of n bytes, or chunked when n is -1, or to the end when it is -2.
func readBody(in *bufio.Reader, m *message, n int) error {
	var body strings.Builder
	defer func() { m.body = body.String() }()
	if n == -2 {
		_, err := io.Copy(&body, in)
		return err
	}
	if n >= 0 {
		_, err := io.CopyN(&body, in, int64(n))
		return unexpected(err)
	}
	for {
		line, err := readLine(in)
		if err != nil {
			return unexpected(err)
		}
		if !sizeLine.MatchString(line) {
			return violates("chunk line %q", line)
		}
		size, _ := strconv.ParseInt(line, 16, 64)
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&body, in, size); err != nil {
			return unexpected(err)
		}
		if line, err = readLine(in); err != nil || line != "" {
			return errors.Join(unexpected(err), wrongEnd(line))
		}
	}
	var raw string
	var err error
	m.trailers, err = readFields(in, &raw)
	return err
}

func wrongEnd(line string) error {
	if line == "" {
		return nil
	}
	return violates("%q behind a chunk", line)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readAnswer reads an answer to a request of the given method.
func readAnswer(in *bufio.Reader, method string) (*message, error) {
	m, err := readHead(in, statusLine)
	if err != nil {
		return m, err
	}
	n, err := framing(m)
	if err != nil {
		return m, err
	}
	switch s := m.status(); {
	case s/100 == 1 || s == 204:
		if n != -2 {
			return m, violates("a %d with a framing field:\n%s", s, m.raw)
		}
		return m, nil
	case s == 304 || method == "HEAD":
		return m, nil
	}
	return m, readBody(in, m, n)
}

// hop are fields that no proxy forwards.
var hop = []string{"Keep-Alive", "Proxy-Connection", "HTTP2-Settings"}

// readRequest reads a request as an origin that forgives nothing.
func readRequest(in *bufio.Reader) (*message, error) {
	m, err := readHead(in, requestLine)
	if err != nil {
		return m, err
	}
	if hosts := m.all("Host"); len(hosts) != 1 {
		return m, violates("%d Host fields:\n%s", len(hosts), m.raw)
	}
	for _, name := range hop {
		if m.all(name) != nil {
			return m, violates("%s was forwarded:\n%s", name, m.raw)
		}
	}
	if te := m.get("TE"); te != "" && te != "trailers" {
		return m, violates("TE: %s was forwarded", te)
	}
	if strings.Contains(strings.ToLower(m.get("Upgrade")), "h2c") {
		return m, violates("Upgrade: h2c was forwarded")
	}
	n, err := framing(m)
	if err != nil || n == -2 {
		return m, err
	}
	return m, readBody(in, m, n)
}
