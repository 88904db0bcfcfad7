import CHeraldBase
import Foundation
import Testing

private func format(_ milliseconds: Int64) -> String {
    var out = [CChar](repeating: 0x7E, count: Int(HR_TIME_TEXT_LEN) + 1)
    unsafe hr_time_format(milliseconds, &out)
    #expect(out.last == 0x7E)
    return String(decoding: out.dropLast().map(UInt8.init), as: UTF8.self)
}

struct TimeTests {
    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"), (999, "1970-01-01T00:00:00.999Z"),
        (86_399_999, "1970-01-01T23:59:59.999Z"),
        (68_169_600_000, "1972-02-29T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (978_307_199_999, "2000-12-31T23:59:59.999Z"), (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_735_603_200_000, "2024-12-31T00:00:00.000Z"), (1_740_787_200_000, "2025-03-01T00:00:00.000Z"),
        (1_767_323_045_678, "2026-01-02T03:04:05.678Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ])
    func `a time is written in UTC`(milliseconds: Int64, text: String) {
        #expect(format(milliseconds) == text)
    }

    @Test func `every day of 800 years agrees with another calendar`() {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0)!
        for day in stride(from: Int64(0), to: 365 * 800, by: 7) {
            let date = calendar.dateComponents(
                [.year, .month, .day], from: Date(timeIntervalSince1970: Double(day) * 86_400))
            let parts = format(day * 86_400_000).prefix(10).split(separator: "-").compactMap { Int($0) }
            #expect(parts == [date.year, date.month, date.day])
        }
    }

    @Test func `the wall clock is now and the other one never steps back`() {
        let difference = Double(hr_time_wall_ms()) / 1000 - Date().timeIntervalSince1970
        #expect(abs(difference) < 5)
        var last = hr_time_mono_ns()
        for _ in 0..<1000 {
            let next = hr_time_mono_ns()
            #expect(next >= last)
            last = next
        }
    }

    @Test func `random bytes fill all of their place and differ`() {
        func draw(_ count: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            unsafe hr_random_bytes(&bytes, count)
            return bytes
        }
        #expect(draw(0).isEmpty)
        #expect(draw(16) != draw(16))
        // 10,000 bytes miss a value with probability 256 * (255/256)^10000, below 1e-14.
        #expect(Set(draw(10_000)).count == 256)
    }
}
