package ctl

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// formats of tables; the last is another name of the one before.
var formats = []string{"pretty", "tsv", "json", "yaml", "yml"}

// column is one column of a table.
type column struct {
	name  string // in tsv, json and yaml
	title string // in pretty; "" is name
	right bool   // aligned to the right in pretty
}

// rows are the cells of a table: values of [cluster.Object], "" for nothing.
type rows [][]any

// printTable writes a table in one of the formats; topology counts as pretty.
// title stands in the uppermost line of pretty. Empty cells are left out of
// json and yaml if sparse.
func printTable(w io.Writer, format, title string, columns []column, cells rows, sparse bool) {
	switch format {
	case "tsv":
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.name
		}
		fmt.Fprintln(w, strings.Join(names, "\t"))
		for _, r := range cells {
			fmt.Fprintln(w, strings.Join(texts(r), "\t"))
		}
	case "json":
		fmt.Fprintf(w, "%s\n", cluster.Spaced(objects(columns, cells, sparse)))
	case "yaml", "yml":
		fmt.Fprintln(w, config.DumpYAML(objects(columns, cells, sparse)))
	default:
		fmt.Fprintln(w, pretty(title, columns, cells))
	}
}

func texts(row []any) []string {
	list := make([]string, len(row))
	for i, v := range row {
		list[i] = cluster.Text(v)
	}
	return list
}

func objects(columns []column, cells rows, sparse bool) []any {
	list := []any{}
	for _, r := range cells {
		o := &cluster.Object{}
		for i, v := range r {
			if o2, ok := v.(*cluster.Object); sparse && (v == "" || v == nil || ok && o2.Len() == 0) {
				continue
			}
			o.Set(columns[i].name, v)
		}
		list = append(list, o)
	}
	return list
}

// boxes are the lines of the reference's tables.
var boxes = table.Style{
	Name: "plain",
	Box: table.BoxStyle{TopLeft: "+", TopRight: "+", TopSeparator: "+", BottomLeft: "+", BottomRight: "+", BottomSeparator: "+",
		Left: "|", LeftSeparator: "+", Right: "|", RightSeparator: "+", MiddleHorizontal: "-", MiddleSeparator: "+", MiddleVertical: "|",
		PaddingLeft: " ", PaddingRight: " "},
	Format:  table.FormatOptions{Header: text.FormatDefault, Row: text.FormatDefault},
	Options: table.Options{DrawBorder: true, SeparateColumns: true, SeparateHeader: true},
}

// pretty draws a table without the last line end. With a cell of several
// lines there is a rule after each row.
func pretty(title string, columns []column, cells rows) string {
	t := table.NewWriter()
	style := boxes
	header := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		header[i] = c.title
		if c.title == "" {
			header[i] = c.name
		}
		align := text.AlignLeft
		if c.right {
			align = text.AlignRight
		}
		configs[i] = table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align}
	}
	if len(header) > 0 {
		t.AppendHeader(header)
	}
	t.SetColumnConfigs(configs)
	for _, r := range cells {
		line := make(table.Row, len(r))
		for i, s := range texts(r) {
			line[i] = s
			style.Options.SeparateRows = style.Options.SeparateRows || strings.Contains(s, "\n")
		}
		t.AppendRow(line)
	}
	t.SetStyle(style)
	return withTitle(t.Render(), title)
}

// withTitle puts a title into the uppermost line, cut to its width.
func withTitle(drawn, title string) string {
	if title == "" {
		return drawn
	}
	top, rest, _ := strings.Cut(drawn, "\n")
	rule, head := []rune(top), []rune(" "+title+" ")
	copy(rule[1:len(rule)-1], head)
	return string(rule) + "\n" + rest
}

// number is a cell that holds an integer.
func number[T ~int | ~int64 | ~uint32 | ~uint64](n T) json.Number {
	return json.Number(fmt.Sprintf("%d", n))
}

// dropEmpty takes away columns of the given names in which none of the rows
// that count has a value.
func dropEmpty(columns []column, cells rows, optional []string, counts func(row []any) bool) ([]column, rows) {
	for i := len(columns) - 1; i >= 0; i-- {
		if !slices.Contains(optional, columns[i].name) || slices.ContainsFunc(cells, func(r []any) bool { return counts(r) && r[i] != "" }) {
			continue
		}
		columns = slices.Delete(slices.Clone(columns), i, i+1)
		for j := range cells {
			cells[j] = slices.Delete(cells[j], i, i+1)
		}
	}
	return columns, cells
}
