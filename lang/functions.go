package lang

// function is a function of the language. Functions of texts have text, and are asked for each value of their first
// argument; checker, compiler and model know the others by name.
type function struct {
	name, usage string
	doc         string
	example     string // a condition or, with braces, a template
	least, most int    // arguments
	text        func(x *X, of, a, b []byte) []byte
}

// jsonValid is the name of a function, the only one with a dot.
const jsonValid = "json.valid"

var functions = []function{
	{name: "lower", usage: "lower(x)", doc: "Letters of ASCII in lower case.", example: `lower(path) ends_with ".png"`,
		least: 1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.lower(of) }},
	{name: "upper", usage: "upper(x)", doc: "Letters of ASCII in upper case.",
		example: `header.x-role.upper() == "GUEST"`,
		least:   1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.upper(of) }},
	{name: "trim", usage: "trim(x)",
		doc:     "Without the white space around it.",
		example: `header.accept.split(",").trim() == "text/html"`,
		least:   1, most: 1, text: func(_ *X, of, _, _ []byte) []byte { return trim(of) }},
	{name: "cut_prefix", usage: "cut_prefix(x, y)", doc: "Without y at its begin.",
		example: `{path.cut_prefix("/api")}`,
		least:   2, most: 2, text: func(_ *X, of, a, _ []byte) []byte { return cutPrefix(of, a) }},
	{name: "cut_suffix", usage: "cut_suffix(x, y)", doc: "Without y at its end.", example: `{path.cut_suffix("/17")}`,
		least: 2, most: 2, text: func(_ *X, of, a, _ []byte) []byte { return cutSuffix(of, a) }},
	{name: "replace", usage: "replace(x, y, z)", doc: "With z in place of each y.", example: `{path.replace("/", "_")}`,
		least: 3, most: 3, text: func(x *X, of, a, b []byte) []byte { return x.State.replace(of, a, b) }},
	{name: "url_encode", usage: "url_encode(x)", doc: "All but letters, digits and `-._~` as `%XX`.",
		example: `/login?back={url_encode(path)}`,
		least:   1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.urlEncode(of) }},
	{name: "url_decode", usage: "url_decode(x)",
		doc:     "`%XX` as the byte that it stands for, once; any other `%`, and `+`, stay.",
		example: `url_decode(target) contains ".."`,
		least:   1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.urlDecode(of) }},
	{name: "base64", usage: "base64(x)", doc: "In base64, with padding.", example: `{base64(path)}`,
		least: 1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.base64(of) }},
	{name: "base64_decode", usage: "base64_decode(x)",
		doc:     "Of base64, with or without padding, in the alphabet of URLs too; missing where it is none.",
		example: `base64_decode(cookie.session) starts_with "{"`,
		least:   1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.base64Decode(of) }},
	{name: "hex", usage: "hex(x)", doc: "Two digits for each byte.", example: `{hex(sha256("edge"))}`,
		least: 1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.hex(of) }},
	{name: "sha256", usage: "sha256(x)", doc: "The 32 bytes of its SHA-256; `hex` or `base64` make a text of them.",
		example: `hex(sha256(header.x-key)) starts_with "e3b0"`,
		least:   1, most: 1, text: func(x *X, of, _, _ []byte) []byte { return x.State.sha256(of) }},
	{name: "basename", usage: "basename(x)",
		doc:     "What follows the last slash.",
		example: `path.basename() == "robots.txt"`,
		least:   1, most: 1, text: func(_ *X, of, _, _ []byte) []byte { return basename(of) }},
	{name: "ext", usage: "ext(x)", doc: "What follows the last dot after the last slash; missing where there is none.",
		example: `path.ext() in {"png" "jpg"}`,
		least:   1, most: 1, text: func(_ *X, of, _, _ []byte) []byte { return extension(of) }},
	{name: "json", usage: `json(x, "a.b")`,
		doc: "A member of a [JSON text](#json), by the names and indices on the way to it; numbers, objects and " +
			"lists in one form. Missing where there is none. A text that is not readable refuses a request.",
		example: `json(header.x-claims, "user.role") == "admin"`,
		least:   2, most: 2, text: func(x *X, of, a, _ []byte) []byte { return x.json(of, a, jsonCall{}) }},
	{name: jsonValid, usage: jsonValid + "(x)",
		doc: "Whether a text is whole and is JSON that `json` can read. The condition that asks it says itself what " +
			"happens to other texts: see [JSON](#json).",
		example: `not json.valid(header.x-claims)`, least: 1, most: 1},

	{name: "len", usage: "len(x)",
		doc:     "Bytes of a text, elements of a list; 0 where it is missing.",
		example: `len(query) > 2000`,
		least:   1, most: 1},
	{name: "int", usage: "int(x)",
		doc: "The integer that a text is, in decimal digits or as a number of JSON: `7.0` and `70e-1` are 7; " +
			"missing, or the second argument, where it is none.",
		example: `int(path.basename(), 0) >= 3`, least: 1, most: 2},
	{name: "text", usage: "text(x)",
		doc:     "Any value as a text.",
		example: `text(port) + path starts_with "8443/api"`, least: 1, most: 1},
	{name: "split", usage: `split(x, ",")[n]`,
		doc: "The list of what stands between separators; with an index one of them, " +
			"the first is 0 and the last -1.", example: `path.split("/")[1] == "api"`, least: 2, most: 2},
	{name: "join", usage: `join(x, ",")`, doc: "The elements of a list, or all values, with a text between them.",
		example: `{query.q.join(" > ")}`, least: 2, most: 2},
	{name: "re_replace", usage: `re_replace(x, "re", "$1")`,
		doc: "With each match of a regular expression replaced; `$1` is a group of the match, `$$` a " +
			"dollar sign.",
		example: `{path.re_replace("^/api/v([0-9]+)/", "/v$1/api/")}`, least: 3, most: 3},
	{name: "hmac", usage: "hmac(secret.NAME, x)", doc: "The 32 bytes of HMAC-SHA-256 with a key of `[secrets]`.",
		example: `hex(hmac(secret.links, path)) == query.sig`, least: 2, most: 2},
	{name: "hash", usage: "hash(x)", doc: "A number from 0 to 2^63-1, the same for the same text on any machine.",
		example: `hash(cookie.session) % 2 == 0`, least: 1, most: 1},
	{name: "percent", usage: "percent(x, 10)", example: `percent(cookie.session, 50)`, least: 2, most: 2,
		doc: "Holds for that share of all texts, and always for the same ones. A missing x counts as the empty text."},
	{name: "random", usage: "random(100)", doc: "A number from 0 to one below that, drawn for each evaluation.",
		example: `random(100) < 100`, least: 1, most: 1},
	{name: "cidr", usage: "cidr(ip, 24, 56)",
		doc:     "The prefix that an address is in: of so many bits for IPv4, of so many for IPv6.",
		example: `cidr(10.1.2.3, 8, 56) == 10.0.0.0/8`, least: 3, most: 3},
	{name: "has", usage: "has(x)",
		doc:     "Whether it is there, even if it is empty.",
		example: `has(query.empty)`, least: 1, most: 1},
	{name: "any", usage: "any(x == y)",
		doc:     "Holds where the comparison does for one value, which a comparison without `not` asks anyway.",
		example: `any(header.x-role != "guest")`, least: 1, most: 1},
	{name: "all", usage: "all(x == y)",
		doc:     "Holds where the comparison does for every value; of a missing thing that is one empty text.",
		example: `all(header.x-role == "guest")`, least: 1, most: 1},
	{name: "default", usage: "default(x, y)", doc: "y where x is missing or empty; `??` is y only where x is missing.",
		example: `{default(query.empty, "public")}`, least: 2, most: 2},
	{name: "ms", usage: "ms(x)", doc: "A duration in milliseconds with three decimals, in place of seconds.",
		example: `{ms(1500ms)}`, least: 1, most: 1},
	{name: "date", usage: `date(time.unix, "%Y-%m-%d")`,
		doc: "A number of seconds since 1970 as a date in UTC: `%Y %m %d %H %M %S %a %b %%`. Without a " +
			"form as fields of HTTP have it.",
		example: `{date(time.unix, "%Y/%m/%d")}`, least: 1, most: 2},
}
