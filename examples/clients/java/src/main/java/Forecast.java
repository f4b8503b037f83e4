import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.tensorflow.framework.DataType;
import org.tensorflow.framework.TensorProto;
import org.tensorflow.framework.TensorShapeProto;
import tensorflow.serving.Model.ModelSpec;
import tensorflow.serving.Predict.PredictRequest;
import tensorflow.serving.Predict.PredictResponse;

public class Forecast {
  static final MethodDescriptor<PredictRequest, PredictResponse> PREDICT =
      MethodDescriptor.<PredictRequest, PredictResponse>newBuilder()
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("tensorflow.serving.PredictionService/Predict")
          .setRequestMarshaller(ProtoUtils.marshaller(PredictRequest.getDefaultInstance()))
          .setResponseMarshaller(ProtoUtils.marshaller(PredictResponse.getDefaultInstance()))
          .build();

  static TensorProto.Builder tensor(DataType type, long... shape) {
    TensorShapeProto.Builder dims = TensorShapeProto.newBuilder();
    for (long size : shape) dims.addDim(TensorShapeProto.Dim.newBuilder().setSize(size));
    return TensorProto.newBuilder().setDtype(type).setTensorShape(dims);
  }

  /** One number for each row, [B, 1]: a condition, or an event of one column. */
  static TensorProto matrix(Float... rows) {
    return tensor(DataType.DT_FLOAT, rows.length, 1).addAllFloatVal(List.of(rows)).build();
  }

  static TensorProto probabilities(Float... rows) {
    return tensor(DataType.DT_FLOAT, rows.length).addAllFloatVal(List.of(rows)).build();
  }

  /** One number for each row, [B]: a raw column, whose numbers are of 64 bits; text is DT_STRING. */
  static TensorProto column(Double... rows) {
    return tensor(DataType.DT_DOUBLE, rows.length).addAllDoubleVal(List.of(rows)).build();
  }

  static TensorProto seeds(Long... rows) {
    return tensor(DataType.DT_INT64, rows.length).addAllInt64Val(List.of(rows)).build();
  }

  /** The numbers of an output of floats, row by row: a server sends them in one field or in the other. */
  static List<Float> numbers(TensorProto tensor) {
    List<Float> values = new ArrayList<>(tensor.getFloatValList());
    var content = tensor.getTensorContent().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    while (content.hasRemaining()) values.add(content.get());
    return values;
  }

  static Map<String, TensorProto> predict(ManagedChannel channel, String signature, Map<String, TensorProto> inputs) {
    ModelSpec model = ModelSpec.newBuilder().setName("sales").setSignatureName(signature).build();
    PredictRequest request = PredictRequest.newBuilder().setModelSpec(model).putAllInputs(inputs).build();
    return ClientCalls.blockingUnaryCall(channel, PREDICT, CallOptions.DEFAULT, request).getOutputsMap();
  }

  public static void main(String[] arguments) {
    ManagedChannel channel = ManagedChannelBuilder.forTarget("localhost:8500").usePlaintext().build();
    TensorProto x = matrix(9.5f, 20f), c = matrix(0.5f, -1f);
    var scored = predict(channel, "log_prob", Map.of("x", x, "conditional_input", c));
    System.out.println(numbers(scored.get("log_prob")));
    var draws = predict(channel, "sample_with_seed", Map.of("conditional_input", c, "seed", seeds(1L, 2L)));
    System.out.println(numbers(draws.get("x")) + " " + numbers(draws.get("log_prob")));
    var high = predict(channel, "quantile", Map.of("probability", probabilities(0.9f, 0.9f), "conditional_input", c));
    System.out.println(numbers(high.get("x")));
    var summary = predict(channel, "summarize", Map.of("conditional_input", c, "seed", seeds(1L, 2L)));
    System.out.println(numbers(summary.get("mean")) + " " + numbers(summary.get("quantiles")));
    var raw = predict(channel, "log_prob_columns", Map.of("price", column(9.5, 20.0), "season", column(0.5, -1.0)));
    System.out.println(numbers(raw.get("log_prob")));
    channel.shutdown();
  }
}
