// Package page writes HTML pages that people open on closed sites: one file each, which loads nothing and runs no script. Names
// in it were chosen by whoever ran the containers, so html/template escapes everything, and a content security policy
// forbids what would run all the same.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
)

//go:embed template
var files embed.FS

// layout is the frame of every page, with the parts that pages share.
var layout = template.Must(template.New("layout.html").Funcs(template.FuncMap{
	"bytes": humanize.IBytes,
	"join":  func(s []string) string { return strings.Join(s, ", ") },
	"pct":   func(part float64) string { return fmt.Sprintf("%.0f %%", 100*part) },
	"rate":  func(perDay float64) string { return fmt.Sprintf("%.1f", perDay) },
	"px":    func(v float64) string { return fmt.Sprintf("%.1f", v) },
}).ParseFS(files, "template/layout.html", "template/chart.html"))

// style is the pages' style sheet. It is a constant of the program, and so may stand in the page as it is.
var style = func() template.CSS {
	css, err := files.ReadFile("template/page.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return template.CSS(css)
}()

// parse makes the template of a page of the layout and of files of which one defines "main".
func parse(names ...string) *template.Template {
	t := template.Must(layout.Clone())
	for _, name := range names {
		template.Must(t.ParseFS(files, "template/"+name))
	}
	return t
}

// frame is what the layout shows.
type frame struct {
	Title string
	Style template.CSS
	Page  any
}

func write(w io.Writer, t *template.Template, title string, page any) error {
	if err := t.ExecuteTemplate(w, "layout.html", frame{title, style, page}); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
