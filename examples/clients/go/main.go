package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"forecast/tfs"
)

func tensor(dtype tfs.DataType, shape ...int64) *tfs.TensorProto {
	dims := &tfs.TensorShapeProto{}
	for _, size := range shape {
		dims.Dim = append(dims.Dim, &tfs.TensorShapeProto_Dim{Size: size})
	}
	return &tfs.TensorProto{Dtype: dtype, TensorShape: dims}
}

// matrix holds one number for each row, [B, 1]: a condition, or an event of one column.
func matrix(rows ...float32) *tfs.TensorProto {
	t := tensor(tfs.DataType_DT_FLOAT, int64(len(rows)), 1)
	t.FloatVal = rows
	return t
}

func probabilities(rows ...float32) *tfs.TensorProto {
	t := tensor(tfs.DataType_DT_FLOAT, int64(len(rows)))
	t.FloatVal = rows
	return t
}

// column holds one number for each row, [B]: a raw column, whose numbers are of 64 bits; text is DT_STRING.
func column(rows ...float64) *tfs.TensorProto {
	t := tensor(tfs.DataType_DT_DOUBLE, int64(len(rows)))
	t.DoubleVal = rows
	return t
}

func seeds(rows ...int64) *tfs.TensorProto {
	t := tensor(tfs.DataType_DT_INT64, int64(len(rows)))
	t.Int64Val = rows
	return t
}

// numbers are those of an output of floats, row by row: a server sends them in one field or in the other.
func numbers(t *tfs.TensorProto) []float32 {
	values := make([]float32, len(t.TensorContent)/4)
	if err := binary.Read(bytes.NewReader(t.TensorContent), binary.LittleEndian, values); err != nil {
		log.Fatal(err)
	}
	return append(values, t.FloatVal...)
}

func main() {
	connection, err := grpc.NewClient("localhost:8500", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	predict := func(signature string, inputs map[string]*tfs.TensorProto) map[string]*tfs.TensorProto {
		request := &tfs.PredictRequest{ModelSpec: &tfs.ModelSpec{Name: "sales", SignatureName: signature}, Inputs: inputs}
		response := &tfs.PredictResponse{}
		method := "/tensorflow.serving.PredictionService/Predict"
		if err := connection.Invoke(context.Background(), method, request, response); err != nil {
			log.Fatal(err)
		}
		return response.Outputs
	}
	x, c := matrix(9.5, 20), matrix(0.5, -1)
	fmt.Println(numbers(predict("log_prob", map[string]*tfs.TensorProto{"x": x, "conditional_input": c})["log_prob"]))
	draws := predict("sample_with_seed", map[string]*tfs.TensorProto{"conditional_input": c, "seed": seeds(1, 2)})
	fmt.Println(numbers(draws["x"]), numbers(draws["log_prob"]))
	high := predict("quantile", map[string]*tfs.TensorProto{"probability": probabilities(0.9, 0.9), "conditional_input": c})
	fmt.Println(numbers(high["x"]))
	summary := predict("summarize", map[string]*tfs.TensorProto{"conditional_input": c, "seed": seeds(1, 2)})
	fmt.Println(numbers(summary["mean"]), numbers(summary["stddev"]), numbers(summary["quantiles"]))
	raw := map[string]*tfs.TensorProto{"price": column(9.5, 20), "season": column(0.5, -1)}
	fmt.Println(numbers(predict("log_prob_columns", raw)["log_prob"]))
}
