package logging

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// defaultFormat is the reference's.
const defaultFormat = "%(asctime)s %(levelname)s: %(message)s"

// record is what a line is made of.
type record struct {
	time    time.Time
	level   slog.Level
	name    string
	message string
	attrs   []slog.Attr
	pc      uintptr
}

// formatter turns records into lines.
type formatter struct {
	json   bool
	date   string // strftime; "" is the default with milliseconds
	plain  []piece
	fields []field
	static *cluster.Object
}

// piece is a part of a plain format: a field with its directives, or a text.
type piece struct{ field, directive, text string }

// field is one of a JSON record.
type field struct{ name, output string }

var directive = regexp.MustCompile(`%(?:\((\w+)\)([-0-9.]*)([sdf])|%)`)

// newFormatter reads type, format, dateformat and static_fields. problem tells of
// a format that cannot be used; the default is taken then.
func newFormatter(c config.Log) (f formatter, problem string) {
	f = formatter{json: c.Type == "json", date: c.DateFormat, static: c.StaticFields}
	format := c.Format
	if _, isText := format.(string); !isText && !f.json {
		if format != nil {
			problem = "log.format must be a text where log.type is plain; the default is used"
		}
		format = defaultFormat
	}
	switch v := format.(type) {
	case string:
		f.plain = pieces(v)
		for _, p := range f.plain {
			if p.field != "" {
				f.fields = append(f.fields, field{p.field, p.field})
			}
		}
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok {
				f.fields = append(f.fields, field{s, s})
				continue
			}
			o, ok := item.(*cluster.Object)
			if !ok || o.Len() != 1 {
				problem = "each item of log.format must be a text, or one text with a name"
				continue
			}
			for name, out := range o.All() {
				f.fields = append(f.fields, field{name, cluster.Text(out)})
			}
		}
	default:
		problem = "log.format must be a text or a list; the default is used"
		f.plain = pieces(defaultFormat)
	}
	if f.json && len(f.fields) == 0 {
		f.fields = []field{{"asctime", "asctime"}, {"levelname", "levelname"}, {"message", "message"}}
	}
	return f, problem
}

func pieces(format string) (list []piece) {
	at := 0
	for _, m := range directive.FindAllStringSubmatchIndex(format, -1) {
		if m[0] > at {
			list = append(list, piece{text: format[at:m[0]]})
		}
		at = m[1]
		if m[2] < 0 {
			list = append(list, piece{text: "%"})
			continue
		}
		list = append(list, piece{field: format[m[2]:m[3]], directive: "%" + format[m[4]:m[5]] + "s"})
	}
	if at < len(format) {
		list = append(list, piece{text: format[at:]})
	}
	return list
}

func (f *formatter) line(r *record) string {
	if f.json {
		return f.jsonLine(r)
	}
	var b strings.Builder
	for _, p := range f.plain {
		switch {
		case p.field == "":
			b.WriteString(p.text)
		case p.directive == "%s":
			b.WriteString(f.text(r, p.field))
		default:
			fmt.Fprintf(&b, p.directive, f.text(r, p.field))
		}
	}
	return oneLine(b.String()) + "\n"
}

// jsonLine has the fields of the format, the constant ones, and the attributes.
func (f *formatter) jsonLine(r *record) string {
	o := &cluster.Object{}
	for _, x := range f.fields {
		switch x.name {
		case "message":
			o.Set(x.output, r.message)
		case "levelno", "lineno", "process":
			n, _ := strconv.Atoi(f.text(r, x.name))
			o.Set(x.output, n)
		default:
			o.Set(x.output, f.text(r, x.name))
		}
	}
	for k, v := range f.static.All() {
		o.Set(k, v)
	}
	for _, a := range r.attrs {
		if _, there := o.Get(a.Key); !there && a.Key != "" {
			o.Set(a.Key, attrText(a.Value))
		}
	}
	return string(cluster.Spaced(o)) + "\n"
}

// text is a field as the reference's language names it.
func (f *formatter) text(r *record, name string) string {
	switch name {
	case "asctime":
		if f.date != "" {
			return strftime(f.date, r.time)
		}
		return strings.Replace(r.time.Format("2006-01-02 15:04:05.000"), ".", ",", 1)
	case "levelname":
		return levelName(r.level)
	case "levelno":
		return strconv.Itoa(levelNumber(r.level))
	case "message":
		return r.message + attrsText(r.attrs)
	case "name":
		if r.name == "" {
			return "root"
		}
		return r.name
	case "process":
		return strconv.Itoa(os.Getpid())
	case "processName":
		return "MainProcess"
	case "threadName":
		return "MainThread"
	case "thread":
		return "0"
	case "created":
		return strconv.FormatFloat(float64(r.time.UnixMicro())/1e6, 'f', -1, 64)
	case "msecs":
		return strconv.Itoa(r.time.Nanosecond() / 1e6)
	case "module", "filename", "pathname", "funcName", "lineno":
		return source(r.pc, name)
	}
	return ""
}

func source(pc uintptr, what string) string {
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	switch what {
	case "module":
		return strings.TrimSuffix(filepath.Base(frame.File), ".go")
	case "filename":
		return filepath.Base(frame.File)
	case "pathname":
		return frame.File
	case "lineno":
		return strconv.Itoa(frame.Line)
	}
	return frame.Function[strings.LastIndexByte(frame.Function, '.')+1:]
}

func attrText(v slog.Value) string {
	v = v.Resolve()
	if v.Kind() == slog.KindTime {
		return v.Time().Format(time.RFC3339Nano)
	}
	return v.String()
}

// attrsText appends attributes to a message: key=value, quoted where needed.
func attrsText(attrs []slog.Attr) string {
	var b strings.Builder
	for _, a := range attrs {
		if a.Key == "" {
			continue
		}
		text := attrText(a.Value)
		if text == "" || strings.ContainsAny(text, " \t\n\"=") {
			text = strconv.Quote(text)
		}
		b.WriteString(" " + a.Key + "=" + text)
	}
	return b.String()
}

// oneLine keeps a record on one line, whatever a server or a program said.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", " | ")
}

// layouts are strftime's directives in Go's words.
var layouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'j': "002", 'z': "-0700", 'Z': "MST",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
}

// strftime writes a time; a directive that it does not know stays as it is.
func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch layout, ok := layouts[format[i]]; {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == '%':
			b.WriteByte('%')
		case format[i] == 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case format[i] == 'n':
			b.WriteByte('\n')
		default:
			b.WriteString("%" + format[i:i+1])
		}
	}
	return b.String()
}
