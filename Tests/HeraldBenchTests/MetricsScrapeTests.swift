import Testing

@testable import HeraldBench

@Suite struct MetricsScrapeTests {
    @Test func `a server's scrape is read`() {
        let scrape = MetricsScrape(
            """
            # HELP herald_build_info The version that is running; always 1.
            # TYPE herald_build_info gauge
            herald_build_info{version="1.2.3"} 1
            herald_loops 4
            # TYPE process_cpu_seconds_total counter
            process_cpu_seconds_total 12.345678
            herald_loop_lag_seconds_bucket{le="+Inf"} 9

            """)
        #expect(scrape.version == "1.2.3" && scrape.loops == 4 && scrape.processorSeconds == 12.345678)
    }

    @Test(arguments: ["", "<html>Not found</html>", "process_cpu_seconds_total", "herald_loops many"])
    func `what is not there is not made up`(text: String) {
        let scrape = MetricsScrape(text)
        #expect(scrape.version == nil && scrape.loops == nil && scrape.processorSeconds == nil)
    }
}
