import Testing

@testable import HeraldBench

@Suite struct LatencyHistogramTests {
    @Test func `nothing has no quantile`() {
        #expect(LatencyHistogram().quantile(perMille: 500) == nil)
        #expect(Figures.Latency(LatencyHistogram()) == nil)
    }

    @Test func `small values are told as they are`() {
        var histogram = LatencyHistogram()
        for value in 1...500 { histogram.add(UInt64(value)) }
        #expect(histogram.quantile(perMille: 500) == 250)
        #expect(histogram.quantile(perMille: 990) == 495)
        #expect(histogram.quantile(perMille: 1000) == 500)
        #expect(histogram.quantile(perMille: 0) == 1)
        #expect(histogram.total == 500 && histogram.max == 500)
    }

    @Test func `a quantile is at most a 256th above the value, and never above the greatest`() {
        var value: UInt64 = 1
        while value < 1 << 42 {
            for each in [value, value + value / 3, value + value / 2 + 1] where each < 1 << 42 {
                var histogram = LatencyHistogram()
                histogram.add(each)
                histogram.add(1 << 43)
                let told = histogram.quantile(perMille: 500) ?? 0
                #expect(told >= each && told - each <= each / 256, "\(each)")
            }
            value *= 2
        }
        var histogram = LatencyHistogram()
        histogram.add(1_000_003)
        #expect(histogram.quantile(perMille: 500) == 1_000_003)
    }

    @Test func `what is past the last bucket is counted, and the greatest is told as it is`() {
        var histogram = LatencyHistogram()
        histogram.add(.max)
        #expect(histogram.quantile(perMille: 500) == .max)
        histogram.add(0)
        #expect(histogram.quantile(perMille: 500) == 0)
    }

    @Test func `quantiles are told in milliseconds`() throws {
        var histogram = LatencyHistogram()
        for value in 1...100 { histogram.add(UInt64(value) * 1_000_000) }
        let latency = try #require(Figures.Latency(histogram))
        #expect(latency.count == 100 && latency.max == 100)
        for (told, meant) in [(latency.p50, 50.0), (latency.p90, 90), (latency.p99, 99)] {
            #expect(told >= meant && told <= meant * 257 / 256)
        }
    }
}
