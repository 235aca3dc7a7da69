// `helm template` for a chart that uses Go's templates, sprig, include and toYaml: what Helm itself
// renders with, where helm is not to be had.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run helm_render.go CHART RELEASE [name=value …]
//
// Debian packages: golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(path string) map[string]interface{} {
	text, err := os.ReadFile(path)
	must(err)
	var value map[string]interface{}
	must(yaml.Unmarshal(text, &value))
	return value
}

// a.b=value into the tree of values, as --set; a value is read as YAML.
func set(values map[string]interface{}, argument string) {
	name, text, found := strings.Cut(argument, "=")
	if !found {
		must(fmt.Errorf("%q is not name=value", argument))
	}
	var value interface{}
	must(yaml.Unmarshal([]byte(text), &value))
	path := strings.Split(name, ".")
	for _, part := range path[:len(path)-1] {
		values = values[part].(map[string]interface{})
	}
	values[path[len(path)-1]] = value
}

func main() {
	chart, release := os.Args[1], os.Args[2]
	values := load(filepath.Join(chart, "values.yaml"))
	for _, argument := range os.Args[3:] {
		set(values, argument)
	}
	about := load(filepath.Join(chart, "Chart.yaml"))
	context := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": map[string]interface{}{"Name": release, "Service": "Helm", "Namespace": "default"},
	}
	all := template.New("chart").Option("missingkey=error").Funcs(sprig.TxtFuncMap())
	all.Funcs(template.FuncMap{
		"toYaml": func(value interface{}) string {
			text, err := yaml.Marshal(value)
			must(err)
			return strings.TrimSuffix(string(text), "\n")
		},
		"include": func(name string, data interface{}) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
	})
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(err)
		template.Must(all.New(filepath.Base(file)).Parse(string(text)))
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".tpl") {
			continue
		}
		fmt.Println("---")
		must(all.ExecuteTemplate(os.Stdout, filepath.Base(file), context))
	}
}
