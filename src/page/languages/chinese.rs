//! Chinese, in simplified characters, and in traditional ones with the words of Taiwan.

use crate::page::language::{Category, Language, Plural};

pub(super) static SIMPLIFIED: Language = Language {
    tag: "zh-Hans",
    right_to_left: false,
    space: "",
    plural: Plural::None,
    when: &[(Category::Other, "{n} 秒后")],
    one_moment: "请稍候",
    busy: "本网站目前非常繁忙。",
    away: "生成此页面的程序目前没有运行。",
    starting: "本网站正在启动。",
    by_itself: "此页面会自动重试。",
    again: "请在 {when}重试。",
    next: "下次重试：",
    now: "正在重试",
    try_now: "立即重试",
    unsaved: "没有保存任何内容。",
    keep: "使用浏览器的后退按钮通常可以找回您输入的内容。再次提交之前，请先将其复制下来。",
    unknown: "无法确定您提交的内容是否已保存。再次提交之前，请先检查。",
    again_or_tell: "请重试。如果问题再次出现，请告知网站管理员。",
    app_broken: (
        "本网站出现故障",
        "无法启动生成此页面的程序。网站管理员可以在错误日志中找到原因。",
    ),
    app_failed: ("出错了", "生成此页面的程序出错了。"),
    bad_gateway: ("出错了", "生成此页面的程序在作出响应之前已停止。"),
    bad_request: (
        "无法读取该请求",
        "收到的请求采用了本网站无法读取的格式。请返回后重试。",
    ),
    body_too_large: ("一次发送的内容过多", "您发送的内容超过了本网站允许的大小。"),
    header_too_large: (
        "请求过长",
        "请求的标头超过了本网站允许的大小。删除本网站的 Cookie 可能会有帮助。",
    ),
    misconfigured: (
        "本网站配置有误",
        "网站管理员需要更正配置；错误日志中注明了具体位置。",
    ),
    not_found: ("这里什么也没有", "此地址不属于本网站。请检查地址是否正确。"),
    request_timeout: ("内容未能送达", "您发送的内容在途中中断了。请返回后重试。"),
    timed_out: ("等待时间过长", "生成此页面的程序没有及时响应。"),
};

pub(super) static TRADITIONAL: Language = Language {
    tag: "zh-Hant",
    right_to_left: false,
    space: "",
    plural: Plural::None,
    when: &[(Category::Other, "{n} 秒後")],
    one_moment: "請稍候",
    busy: "本網站目前非常忙碌。",
    away: "產生此頁面的程式目前沒有執行。",
    starting: "本網站正在啟動。",
    by_itself: "此頁面會自動重試。",
    again: "請在 {when}重試。",
    next: "下次重試：",
    now: "正在重試",
    try_now: "立即重試",
    unsaved: "沒有儲存任何內容。",
    keep: "使用瀏覽器的上一頁按鈕通常可以找回您輸入的內容。再次送出之前，請先將其複製下來。",
    unknown: "無法確定您送出的內容是否已儲存。再次送出之前，請先檢查。",
    again_or_tell: "請重試。如果問題再次發生，請通知網站管理員。",
    app_broken: (
        "本網站發生故障",
        "無法啟動產生此頁面的程式。網站管理員可以在錯誤記錄中找到原因。",
    ),
    app_failed: ("發生錯誤", "產生此頁面的程式發生錯誤。"),
    bad_gateway: ("發生錯誤", "產生此頁面的程式在回應之前已停止。"),
    bad_request: (
        "無法讀取該請求",
        "收到的請求採用了本網站無法讀取的格式。請返回後重試。",
    ),
    body_too_large: ("一次傳送的內容過多", "您傳送的內容超過了本網站允許的大小。"),
    header_too_large: (
        "請求過長",
        "請求的標頭超過了本網站允許的大小。刪除本網站的 Cookie 可能會有幫助。",
    ),
    misconfigured: (
        "本網站設定有誤",
        "網站管理員需要修正設定；錯誤記錄中註明了具體位置。",
    ),
    not_found: ("這裡什麼也沒有", "此網址不屬於本網站。請檢查網址是否正確。"),
    request_timeout: ("內容未能送達", "您傳送的內容在途中中斷了。請返回後重試。"),
    timed_out: ("等候時間過長", "產生此頁面的程式沒有及時回應。"),
};
