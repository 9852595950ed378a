// Decodes messages with the Collector's decoders and others in Go. Tests compare messages before and after the gate.
//
// A line of stdin is `SIGNAL FORMAT BASE64`. For the formats `proto` and `json`, the Collector decodes the message, and
// the line of stdout is the message in OTLP/JSON. For `protobuf` and `easyproto`, Go's protobuf or VictoriaMetrics'
// easyproto decodes it, and the line has the attributes of each entry's Resource. A message that cannot be decoded gives
// `error: ` and the reason.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<16)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		text, err := decode(strings.TrimSuffix(line, "\n"))
		if err != nil {
			text = []byte("error: " + strings.ReplaceAll(err.Error(), "\n", " "))
		}
		out.Write(append(text, '\n'))
		out.Flush()
	}
}

func decode(line string) (text []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	words := strings.Split(line, " ")
	if len(words) != 3 {
		return nil, fmt.Errorf("%d words", len(words))
	}
	message, err := base64.StdEncoding.DecodeString(words[2])
	if err != nil {
		return nil, err
	}
	switch words[1] {
	case "protobuf":
		return goProtobuf(words[0], message)
	case "easyproto":
		return easyProto(message)
	}
	json := words[1] == "json"
	switch words[0] {
	case "traces":
		return through(message, json, (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces, (&ptrace.JSONUnmarshaler{}).UnmarshalTraces, (&ptrace.JSONMarshaler{}).MarshalTraces)
	case "metrics":
		return through(message, json, (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics, (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics, (&pmetric.JSONMarshaler{}).MarshalMetrics)
	case "logs":
		return through(message, json, (&plog.ProtoUnmarshaler{}).UnmarshalLogs, (&plog.JSONUnmarshaler{}).UnmarshalLogs, (&plog.JSONMarshaler{}).MarshalLogs)
	case "profiles":
		return through(message, json, (&pprofile.ProtoUnmarshaler{}).UnmarshalProfiles, (&pprofile.JSONUnmarshaler{}).UnmarshalProfiles, resources)
	}
	return nil, fmt.Errorf("no signal %q", words[0])
}

// The Resources alone, as those of traces: in profiles, their strings would be indexes into a table.
func resources(profiles pprofile.Profiles) ([]byte, error) {
	traces := ptrace.NewTraces()
	for _, profile := range profiles.ResourceProfiles().All() {
		profile.Resource().CopyTo(traces.ResourceSpans().AppendEmpty().Resource())
	}
	return (&ptrace.JSONMarshaler{}).MarshalTraces(traces)
}

func through[T any](message []byte, json bool, fromProto, fromJSON func([]byte) (T, error), toJSON func(T) ([]byte, error)) ([]byte, error) {
	from := fromProto
	if json {
		from = fromJSON
	}
	decoded, err := from(message)
	if err != nil {
		return nil, err
	}
	return toJSON(decoded)
}
