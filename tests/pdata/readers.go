package main

import (
	"encoding/json"
	"fmt"

	"github.com/VictoriaMetrics/easyproto"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// Key and string value of an attribute. Maps are flattened as in VictoriaLogs.
type pair [2]string

// The attributes of each entry's Resource, as Go's protobuf decodes them.
func goProtobuf(signal string, message []byte) ([]byte, error) {
	var resources []*resource.Resource
	switch signal {
	case "traces":
		request := &traces.ExportTraceServiceRequest{}
		if err := proto.Unmarshal(message, request); err != nil {
			return nil, err
		}
		for _, entry := range request.ResourceSpans {
			resources = append(resources, entry.Resource)
		}
	case "metrics":
		request := &metrics.ExportMetricsServiceRequest{}
		if err := proto.Unmarshal(message, request); err != nil {
			return nil, err
		}
		for _, entry := range request.ResourceMetrics {
			resources = append(resources, entry.Resource)
		}
	case "logs":
		request := &logs.ExportLogsServiceRequest{}
		if err := proto.Unmarshal(message, request); err != nil {
			return nil, err
		}
		for _, entry := range request.ResourceLogs {
			resources = append(resources, entry.Resource)
		}
	default:
		return nil, fmt.Errorf("no signal %q", signal)
	}
	entries := [][]pair{}
	for _, resource := range resources {
		pairs := []pair{}
		flatten(&pairs, "", resource.GetAttributes())
		entries = append(entries, pairs)
	}
	return json.Marshal(entries)
}

func flatten(pairs *[]pair, prefix string, attributes []*common.KeyValue) {
	for _, attribute := range attributes {
		name := prefix + attribute.GetKey()
		if list := attribute.GetValue().GetKvlistValue(); list != nil {
			flatten(pairs, name+".", list.Values)
		} else {
			*pairs = append(*pairs, pair{name, attribute.GetValue().GetStringValue()})
		}
	}
}

// The attributes of each entry's Resource, as a reader on easyproto gets them that asks for one field at a time. It gets
// the first field of a number.
func easyProto(message []byte) ([]byte, error) {
	entries := [][]pair{}
	err := each(message, 1, func(entry []byte) error {
		resource, _, err := easyproto.GetMessageData(entry, 1)
		if err != nil {
			return err
		}
		pairs := []pair{}
		if err := easyFlatten(&pairs, "", resource); err != nil {
			return err
		}
		entries = append(entries, pairs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(entries)
}

func easyFlatten(pairs *[]pair, prefix string, list []byte) error {
	return each(list, 1, func(attribute []byte) error {
		key, _, err := easyproto.GetString(attribute, 1)
		if err != nil {
			return err
		}
		value, _, err := easyproto.GetMessageData(attribute, 2)
		if err != nil {
			return err
		}
		inner, nested, err := easyproto.GetMessageData(value, 6)
		if err != nil {
			return err
		}
		if nested {
			return easyFlatten(pairs, prefix+key+".", inner)
		}
		text, _, err := easyproto.GetString(value, 1)
		*pairs = append(*pairs, pair{prefix + key, text})
		return err
	})
}

// Calls read for each message in a repeated field.
func each(message []byte, number uint32, read func([]byte) error) error {
	var fields easyproto.FieldContext
	for len(message) > 0 {
		var err error
		if message, err = fields.NextField(message); err != nil {
			return err
		}
		if fields.FieldNum == number {
			data, ok := fields.MessageData()
			if !ok {
				return fmt.Errorf("field %d is not a message", number)
			}
			if err := read(data); err != nil {
				return err
			}
		}
	}
	return nil
}
