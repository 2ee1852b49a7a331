package setup

import (
	"fmt"
	"strings"

	"tamada/internal/config"
)

// KeyList is the list of all keys in Markdown, as docs/configuration.md has it.
func KeyList() string {
	var b strings.Builder
	for _, part := range []struct {
		title string
		place config.Place
	}{{"The node's own file", config.Local}, {"The dynamic configuration", config.Dynamic}} {
		fmt.Fprintf(&b, "### %s\n\n| key | type | default | a change takes effect | meaning |\n|---|---|---|---|---|\n", part.title)
		for _, k := range config.Keys() {
			if k.Place&part.place == 0 || part.place == config.Dynamic && k.Place == config.Both {
				continue
			}
			name := "`" + k.Path + "`"
			if k.Kind == config.Section && !strings.Contains(k.Path, ".") {
				name = "**" + name + "**"
			}
			if k.Place == config.Both {
				name += " ²"
			}
			meaning := k.Doc
			if k.Refused != "" {
				meaning += " *" + strings.ToUpper(k.Refused[:1]) + k.Refused[1:] + ".*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, cell(typeText(k)), cell(defaultCell(k)),
				[...]string{"reload", "agent's restart", "PostgreSQL's restart", "bootstrap"}[k.Effect], cell(meaning))
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func defaultCell(k config.Key) string {
	if k.Default == nil {
		return ""
	}
	text := "`" + defaultText(k.Default) + "`"
	if l := limits(k); l != "" {
		text += ", " + l
	}
	return text
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
