//! contact_sheet THUMBNAILS FOLDER
//!
//! Reads `{"title": …, "pages": […], "deskew": […]}` on stdin: what split_pages and deskew said of each page, in order. Writes
//! index.html, one page with all thumbnails inside it, and index.json into the folder. Exit code 2 when something does not fit.

const std = @import("std");

const Page = struct { page: u32, file: []const u8, width: u32, height: u32, dpi: u32, kind: []const u8 };
const Cleaned = struct { angle: f64, specks: u32 = 0, width: u32, height: u32 };
const Letter = struct { title: []const u8, pages: []const Page, deskew: []const Cleaned };
const Text = std.ArrayList(u8);

const most_json = 4 << 20;
const most_thumbnail = 32 << 20;
const style = @embedFile("style.css");

pub fn main() u8 {
    var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
    const gpa = arena.allocator();
    const arguments = std.process.argsAlloc(gpa) catch return refuse("out of memory", .{});
    if (arguments.len != 3) {
        std.debug.print("usage: contact_sheet THUMBNAILS FOLDER\n", .{});
        return 64;
    }
    const given = std.fs.File.stdin().readToEndAlloc(gpa, most_json) catch |reason|
        return refuse("cannot read stdin: {t}", .{reason});
    const letter = std.json.parseFromSliceLeaky(Letter, gpa, given, .{ .ignore_unknown_fields = true }) catch |reason|
        return refuse("stdin is not the list of pages that is expected: {t}", .{reason});
    if (letter.pages.len != letter.deskew.len)
        return refuse("stdin has {d} pages and {d} results of deskew", .{ letter.pages.len, letter.deskew.len });

    const preopens = std.fs.wasi.preopensAlloc(gpa) catch return refuse("out of memory", .{});
    var thumbnails = openFolder(preopens, arguments[1]) catch |reason|
        return refuse("cannot open the folder {s}: {t}", .{ arguments[1], reason });
    defer thumbnails.close();
    var out = openFolder(preopens, arguments[2]) catch |reason|
        return refuse("cannot open the folder {s}: {t}", .{ arguments[2], reason });
    defer out.close();

    var html: Text = .empty;
    var json: Text = .empty;
    write(gpa, &html, &json, letter, thumbnails) catch |reason| return refuse("cannot write the sheet: {t}", .{reason});
    out.writeFile(.{ .sub_path = "index.html", .data = html.items }) catch |reason|
        return refuse("cannot write index.html: {t}", .{reason});
    out.writeFile(.{ .sub_path = "index.json", .data = json.items }) catch |reason|
        return refuse("cannot write index.json: {t}", .{reason});
    return 0;
}

/// Opens a folder by its absolute path, making it where it is missing: the standard library knows paths relative to one of the
/// folders that the sandbox gives, and picks none by itself.
fn openFolder(preopens: std.fs.wasi.Preopens, path: []const u8) !std.fs.Dir {
    var best: ?std.fs.Dir = null;
    var rest: []const u8 = path;
    var longest: usize = 0;
    for (preopens.names, 0..) |name, fd| {
        if (fd < 3 or name.len < longest or !std.mem.startsWith(u8, path, name)) continue;
        const after = path[name.len..];
        if (after.len > 0 and after[0] != '/' and !std.mem.endsWith(u8, name, "/")) continue;
        best = .{ .fd = @intCast(fd) };
        longest = name.len;
        rest = std.mem.trimLeft(u8, after, "/");
    }
    const root = best orelse return error.FileNotFound;
    return root.makeOpenPath(if (rest.len == 0) "." else rest, .{});
}

fn refuse(comptime format: []const u8, values: anytype) u8 {
    std.debug.print("contact_sheet: " ++ format ++ "\n", values);
    return 2;
}

fn write(gpa: std.mem.Allocator, html: *Text, json: *Text, letter: Letter, thumbnails: std.fs.Dir) !void {
    try html.appendSlice(gpa, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n" ++
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    try escape(gpa, html, letter.title);
    try html.print(gpa, "</title>\n<style>\n{s}</style>\n<header>\n<h1>", .{style});
    try escape(gpa, html, letter.title);
    try html.print(gpa, "</h1>\n<p>{d} {s}", .{ letter.pages.len, if (letter.pages.len == 1) "page" else "pages" });
    var turned: usize = 0;
    for (letter.deskew) |cleaned| turned += @intFromBool(cleaned.angle != 0);
    try html.print(gpa, " · {d} straightened</p>\n</header>\n<main>\n", .{turned});
    try json.print(gpa, "{{\"title\":{f},\"pages\":[", .{std.json.fmt(letter.title, .{})});
    var pictures: Text = .empty;
    for (letter.pages, letter.deskew, 0..) |page, cleaned, index| {
        const thumbnail = thumbnails.readFileAlloc(gpa, page.file, most_thumbnail) catch |reason| {
            std.debug.print("contact_sheet: page {d} has no thumbnail {s}\n", .{ page.page, page.file });
            return reason;
        };
        try card(gpa, html, page, cleaned);
        try pictures.print(gpa, ".p{d}{{background-image:url(data:image/png;base64,", .{page.page});
        const encoder = std.base64.standard.Encoder;
        const room = try pictures.addManyAsSlice(gpa, encoder.calcSize(thumbnail.len));
        _ = encoder.encode(room, thumbnail);
        try pictures.appendSlice(gpa, ")}\n");
        if (index > 0) try json.append(gpa, ',');
        try json.print(gpa, "\n{{\"page\":{d},\"file\":{f},\"kind\":{f},\"width\":{d},\"height\":{d},\"dpi\":{d},\"angle\":{d:.2},\"specks\":{d},\"cleaned\":{{\"width\":{d},\"height\":{d}}}}}", .{
            page.page,    std.json.fmt(page.file, .{}), std.json.fmt(page.kind, .{}), page.width,    page.height, page.dpi,
            cleaned.angle, cleaned.specks,               cleaned.width,                cleaned.height,
        });
    }
    try html.print(gpa, "</main>\n<style>\n{s}</style>\n</html>\n", .{pictures.items});
    try json.appendSlice(gpa, "\n]}\n");
}

/// A thumbnail, which a click makes large, with what is known of the page below it.
fn card(gpa: std.mem.Allocator, html: *Text, page: Page, cleaned: Cleaned) !void {
    try html.print(gpa,
        \\<figure id="page-{0d}">
        \\<a href="#large-{0d}" aria-label="Page {0d}, larger"><span class="paper p{0d}" style="aspect-ratio:{1d}/{2d}"></span></a>
        \\<figcaption><b>{0d}</b><span>
    , .{ page.page, cleaned.width, cleaned.height });
    const inch = @as(f64, @floatFromInt(page.dpi));
    const wide = @as(f64, @floatFromInt(page.width)) / inch * 25.4;
    const high = @as(f64, @floatFromInt(page.height)) / inch * 25.4;
    try html.print(gpa, "{d:.0} × {d:.0} mm<small>", .{ wide, high });
    try escape(gpa, html, page.kind);
    try html.print(gpa, ", {d} dpi</small></span>", .{page.dpi});
    if (cleaned.angle != 0) {
        try html.print(gpa, "<em title=\"The lines fell by this much\"><i style=\"--skew:{d:.2}deg\"></i>{d:.2}°</em>", .{ cleaned.angle, @abs(cleaned.angle) });
    } else try html.appendSlice(gpa, "<em class=\"level\"><i></i>level</em>");
    try html.print(gpa,
        \\</figcaption>
        \\</figure>
        \\<a class="large" id="large-{0d}" href="#page-{0d}" aria-label="Back to all pages"><span class="paper p{0d}" style="aspect-ratio:{1d}/{2d}"></span></a>
        \\
    , .{ page.page, cleaned.width, cleaned.height });
}

fn escape(gpa: std.mem.Allocator, html: *Text, text: []const u8) !void {
    for (text) |byte| switch (byte) {
        '<' => try html.appendSlice(gpa, "&lt;"),
        '&' => try html.appendSlice(gpa, "&amp;"),
        '"' => try html.appendSlice(gpa, "&quot;"),
        else => try html.append(gpa, byte),
    };
}
