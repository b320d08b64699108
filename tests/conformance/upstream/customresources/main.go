// What kube-apiserver makes of CustomResourceDefinitions and objects of their kinds, without the server: its own
// packages for validation, pruning, defaulting and tables. One JSON case a line in, one answer a line out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	servervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/common"
)

type testCase struct {
	Definition json.RawMessage   `json:"definition"`
	Objects    []json.RawMessage `json:"objects"`
}

type answer struct {
	Faults  []string       `json:"faults"`
	Objects []objectAnswer `json:"objects"`
}

type objectAnswer struct {
	Unknown []string       `json:"unknown"`
	Error   string         `json:"error,omitempty"`
	Stored  map[string]any `json:"stored"`
	Faults  []string       `json:"faults"`
	Update  []string       `json:"update"`
	Cells   []any          `json:"cells"`
}

func texts(errs field.ErrorList) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, string(err.Type)+" "+err.Error())
	}
	sort.Strings(out)
	return out
}

func main() {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var c testCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			panic(err)
		}
		bytes, err := json.Marshal(judge(codecs, scheme, c))
		if err != nil {
			panic(err)
		}
		out.Write(bytes)
		out.WriteByte('\n')
	}
}

func judge(codecs serializer.CodecFactory, scheme *runtime.Scheme, c testCase) answer {
	ctx := context.Background()
	object, _, err := codecs.UniversalDecoder(apiextensions.SchemeGroupVersion).Decode(c.Definition, nil, nil)
	if err != nil {
		return answer{Faults: []string{"undecodable " + err.Error()}}
	}
	definition := object.(*apiextensions.CustomResourceDefinition)
	definition.Status = apiextensions.CustomResourceDefinitionStatus{}
	for _, version := range definition.Spec.Versions {
		if version.Storage {
			definition.Status.StoredVersions = []string{version.Name}
			break
		}
	}
	result := answer{Faults: texts(validation.ValidateCustomResourceDefinition(ctx, definition)), Objects: []objectAnswer{}}
	if len(result.Faults) > 0 {
		return result
	}
	external := &v1.CustomResourceDefinition{}
	if err := scheme.Convert(definition, external, nil); err != nil {
		panic(err)
	}
	version := external.Spec.Versions[0]
	internal := &apiextensions.CustomResourceValidation{}
	if err := v1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, internal, nil); err != nil {
		panic(err)
	}
	schema, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		panic(err)
	}
	schema = schema.DeepCopy()
	if err := defaulting.PruneDefaults(schema); err != nil {
		panic(err)
	}
	validator, _, err := servervalidation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		panic(err)
	}
	columns := version.AdditionalPrinterColumns
	if len(columns) == 0 {
		columns = []v1.CustomResourceColumnDefinition{{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"}}
	}
	table, _ := tableconvertor.New(columns)
	var before map[string]any
	for _, raw := range c.Objects {
		var value map[string]any
		if err := utiljson.Unmarshal(raw, &value); err != nil {
			panic(err)
		}
		one := objectAnswer{Unknown: []string{}, Update: []string{}}
		opts := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
		one.Unknown = append(one.Unknown, pruning.PruneWithOptions(value, schema, true, opts)...)
		defaulting.PruneNonNullableNullsWithoutDefaults(value, schema)
		fault, unknown := objectmeta.CoerceWithOptions(nil, value, schema, false, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
		one.Unknown = append(one.Unknown, unknown...)
		if fault != nil {
			one.Error = fault.Error()
			result.Objects = append(result.Objects, one)
			continue
		}
		defaulting.Default(value, schema)
		one.Stored = runtime.DeepCopyJSON(value)
		errs := servervalidation.ValidateCustomResource(nil, value, validator)
		errs = append(errs, objectmeta.Validate(ctx, nil, value, schema, false)...)
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, schema, value)...)
		one.Faults = texts(errs)
		if before != nil {
			correlated := common.NewCorrelatedObject(value, before, &model.Structural{Structural: schema})
			updated := servervalidation.ValidateCustomResourceUpdate(nil, value, before, validator, servervalidation.WithRatcheting(correlated))
			one.Update = texts(updated)
		}
		before = value
		shown, err := table.ConvertToTable(ctx, &unstructured.Unstructured{Object: value}, &metav1.TableOptions{})
		if err == nil && len(shown.Rows) == 1 {
			one.Cells = shown.Rows[0].Cells[1:]
			for i, column := range shown.ColumnDefinitions[1:] {
				// An age is of the moment at which it is asked for.
				if text, ok := one.Cells[i].(string); ok && column.Type == "date" && !strings.HasPrefix(text, "<") {
					one.Cells[i] = "<age>"
				}
			}
		} else {
			one.Cells = []any{fmt.Sprint(err)}
		}
		result.Objects = append(result.Objects, one)
	}
	return result
}
